//! `projectord pause` and `resume`

use super::exit::{Code, Failed};
use super::operator::{operator, said};
use crate::config::Config;

pub(super) async fn pause(config: &Config, name: &str) -> Result<Code, Failed> {
    let control = operator(config).await?;
    let what = control.pause(name).await?;
    said(&control, &what).await
}

pub(super) async fn resume(config: &Config, name: &str) -> Result<Code, Failed> {
    let control = operator(config).await?;
    let what = control.resume(name).await?;
    said(&control, &what).await
}
