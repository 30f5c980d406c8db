//! SIGHUP: the projections' folders and the level of the log, read again.

use std::path::Path;

use sqlx::PgPool;
use tokio::time::timeout;
use tracing::{error, info};
use uuid::Uuid;

use super::fleet::{Fleet, SHORT};
use crate::config::{self, Level};

/// What cannot be read stays as it was, and that is counted.
pub(super) async fn reload(
    fleet: &mut Fleet,
    control: &PgPool,
    daemon: Uuid,
    file: Option<&Path>,
    level: Option<&Level>,
) {
    let whole = match config::load(file) {
        Ok(loaded) => {
            if let Some(level) = level {
                level.set(&loaded.config.log);
            }
            match fleet.load().await {
                Ok(problems) => {
                    info!(problems, "reloaded projections and log level");
                    problems == 0
                }
                Err(problem) => {
                    error!(%problem, "projections not reloaded");
                    false
                }
            }
        }
        Err(error) => {
            error!(%error, "not reloaded; the configuration is as it was");
            false
        }
    };
    if !whole {
        let counted =
            sqlx::query("update projectord.daemons set refused_reloads = refused_reloads + 1 where id = $1")
                .bind(daemon)
                .execute(control);
        drop(timeout(SHORT, counted).await);
    }
}
