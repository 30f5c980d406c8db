//! Shows that the daemon runs: a row of `projectord.daemons`, touched every two seconds.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use crate::shutdown::Shutdown;

/// How often the row is touched.
const BEAT: Duration = Duration::from_secs(2);

/// Beats until it is told to stop; then the row goes.
pub(super) async fn beat(pool: PgPool, mut shutdown: Shutdown) {
    let id = Uuid::new_v4();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let pid = i32::try_from(std::process::id()).unwrap_or(0);
    loop {
        // Whether PostgreSQL is there is said by those who need it.
        let _ = sqlx::query(
            "with gone as (delete from projectord.daemons where seen_at < clock_timestamp() - interval '1 hour')
             insert into projectord.daemons (id, host, pid, version) values ($1, $2, $3, $4)
                 on conflict (id) do update set seen_at = clock_timestamp()",
        )
        .bind(id)
        .bind(&host)
        .bind(pid)
        .bind(env!("CARGO_PKG_VERSION"))
        .execute(&pool)
        .await;
        if shutdown.within(BEAT).await {
            break;
        }
    }
    let _ = sqlx::query("delete from projectord.daemons where id = $1").bind(id).execute(&pool).await;
}
