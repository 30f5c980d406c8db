//! `projectord check`

use super::exit::{Code, Failed};
use super::open::pool;
use super::print::{self, Colour};
use crate::config::Config;
use crate::postgres::migrate_status;
use crate::projection::load_all;
use crate::projector::check_sql;

pub(super) async fn run(config: &Config) -> Result<Code, Failed> {
    let (projections, mut problems) =
        load_all(&config.projections.path).map_err(|problem| Failed::new(Code::Config, problem))?;
    let unchecked = match pool(config).await {
        Ok(pool) => {
            let mut connection = pool.acquire().await?;
            let ready = migrate_status(&mut connection).await?;
            for projection in projections.iter().filter(|_| ready) {
                problems.extend(check_sql(&mut connection, projection).await?);
            }
            (!ready).then(|| "the schema projectord is not there yet; run `projectord setup`".to_owned())
        }
        Err(failed) if failed.code == Code::Config => return Err(failed),
        Err(failed) => Some(failed.message),
    };
    for problem in &problems {
        print::line(format!("{} {problem}", print::paint(Colour::Red, "problem:")));
    }
    if let Some(reason) = unchecked {
        print::line(format!("{} SQL was not compiled: {reason}", print::paint(Colour::Yellow, "note:")));
    }
    if !problems.is_empty() {
        let count = problems.len();
        return Err(Failed::new(
            Code::Config,
            format!("{count} {}", if count == 1 { "problem" } else { "problems" }),
        ));
    }
    let names: Vec<&str> = projections.iter().map(|projection| projection.name.as_str()).collect();
    let what = match names.as_slice() {
        [] => format!("configuration; no projections in {}", config.projections.path.display()),
        names => format!("configuration and projections {}", names.join(", ")),
    };
    print::line(format!("{} {what}", print::paint(Colour::Green, "ok:")));
    Ok(Code::Done)
}
