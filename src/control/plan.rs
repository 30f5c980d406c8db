//! What a rebuild will take, and why one is due, in words.

use std::path::Path;

use tokio::task::spawn_blocking;

use super::{Control, ControlError};
use crate::projection::{Definition, load_all};
use crate::projector::{GenerationError, Plan, plan};
use crate::text::{size, thousands};

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is about: `why`, `events`; empty where it goes on with what the line before was about.
    pub what: &'static str,
    /// What there is to say. A column that goes begins with `- `, one that comes with `+ `.
    pub text: String,
}

impl Control {
    /// What a rebuild will take of the projection in the folder `path`, as its files are now.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] where there is no such folder; [`ControlError::Config`] where it cannot be built.
    pub async fn plan(&self, path: &Path, name: &str) -> Result<Vec<Line>, ControlError> {
        let definition = read(path, name).await?;
        let mut connection = self.pool.acquire().await?;
        match plan(&mut connection, &definition).await {
            Ok(plan) => Ok(in_words(&definition, &plan)),
            Err(GenerationError::Refused(failure)) => {
                Err(ControlError::Config(format!("{name} cannot be built: {failure}")))
            }
            Err(GenerationError::Postgres(error)) => Err(error.into()),
        }
    }
}

/// The same, on a thread where waiting for a disk holds up nobody.
async fn read(path: &Path, name: &str) -> Result<Definition, ControlError> {
    let (path, name) = (path.to_owned(), name.to_owned());
    match spawn_blocking(move || definition(&path, &name)).await {
        Ok(found) => found,
        Err(error) => Err(ControlError::Config(format!("the files were not read: {error}"))),
    }
}

/// The projection as its files are now.
fn definition(path: &Path, name: &str) -> Result<Definition, ControlError> {
    let (all, problems) = load_all(path).map_err(|problem| ControlError::Config(problem.to_string()))?;
    if let Some(definition) = all.into_iter().find(|it| it.name == name) {
        return Ok(definition);
    }
    let ours: Vec<String> = problems
        .iter()
        .filter(|problem| problem.projection(path).as_deref() == Some(name))
        .map(ToString::to_string)
        .collect();
    if ours.is_empty() {
        let folder = path.join(name);
        return Err(ControlError::NotFound(format!("{}: there is no such projection", folder.display())));
    }
    Err(ControlError::Config(ours.join("\n")))
}

fn in_words(definition: &Definition, plan: &Plan) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = |what: &'static str, text: String| lines.push(Line { what, text });
    match plan.live {
        0 => line("why", format!("{} has not been built yet", definition.name)),
        live if plan.files.is_empty() => {
            line("why", format!("the files are those that generation {live} was made of"));
        }
        live => {
            line("why", format!("these files have changed since generation {live} was made:"));
            plan.files.iter().for_each(|(file, how)| line("", format!("{file} {how}")));
        }
    }
    let (gone, come) = &plan.columns;
    if plan.live > 0 && (!gone.is_empty() || !come.is_empty()) {
        line("tables", "columns that change:".into());
        gone.iter().for_each(|column| line("", format!("- {column}")));
        come.iter().for_each(|column| line("", format!("+ {column}")));
    }
    let (all, handled) = (thousands(plan.events.0.unsigned_abs()), thousands(plan.events.1.unsigned_abs()));
    line("events", format!("{all} in the log, {handled} of them have a handler"));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate")]
    let rate = thousands(plan.rate as u64);
    let seconds = plan.time().as_secs_f64();
    let time = if seconds < 1.0 { "less than a second".into() } else { format!("about {seconds:.0} s") };
    if plan.events.0 > 0 && plan.rate < 1.0 {
        line("time", "not known: the first event would be parked".into());
    } else {
        line("time", format!("{time}, at {rate} events/s, as measured on the first of them"));
    }
    line("disk", format!("about {} beside the {} of the live rows", size(plan.bytes.1), size(plan.bytes.0)));
    if plan.outside.is_empty() {
        line("outside", "nothing depends on its tables; grants and comments carry over by name".into());
    } else {
        line("outside", "these depend on its tables, and stand in the way unless it is forced:".into());
        plan.outside.iter().for_each(|it| line("", it.clone()));
    }
    lines
}
