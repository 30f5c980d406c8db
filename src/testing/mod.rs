//! A kit for testing projections: given events, the rows that come of them. What `projectord test` does with
//! the files in a projection's `tests/`, a test in Rust can do with this.
//!
//! The read model is built in a schema of its own and from events of its own, in one transaction that is never
//! committed: nothing is left of it, whatever happens, and the log is neither read nor locked.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use projectord::postgres::Options;
//! use projectord::projection;
//! use projectord::testing::{Given, ReadModel};
//! use serde_json::json;
//!
//! # async fn test() -> Result<(), Box<dyn std::error::Error>> {
//! let options: Options = "postgres://localhost:5432/shop".parse()?;
//! let mut connection = options.pool(1).acquire().await?;
//! let orders = projection::load(Path::new("projections/orders")).map_err(|problems| problems[0].to_string())?;
//!
//! let given = Given::new()
//!     .event("first", "OrderCreated", json!({"user_id": 7, "total": 12.5}))?
//!     .event("first", "StatusChanged", json!({"status": "sent"}))?;
//! let mut model = ReadModel::new(&mut connection, &orders, &given).await?;
//! model.apply_all().await?;
//! assert_eq!(model.rows("select status, version from orders").await?, [json!({"status": "sent", "version": 2})]);
//! # Ok(())
//! # }
//! ```
//!
//! A projection in Rust is tested the same way: `Definition::try_from(Code::new(MyProjection))`. Upcasters are
//! taken along by `with_upcasters(Path::new("projections"))`.
//!
//! [`tests_of`] and [`run`] are the same for the files.

mod case;
mod compare;
mod file;
mod given;
mod lines;
mod read_model;
mod run;
mod table;

use thiserror::Error;

pub use case::{Case, tests_of};
pub use given::{Given, GivenEvent};
pub use read_model::{Applied, ReadModel};
pub use run::{Outcome, run};

use crate::projection::Problem;

/// Why a test could not be run. One that ran and failed is no error.
#[derive(Debug, Error)]
pub enum TestError {
    /// PostgreSQL refuses the projection's SQL.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Projection(Vec<Problem>),
    /// PostgreSQL could not be reached, or refuses a query.
    #[error("{}", crate::postgres::describe(.0))]
    Postgres(#[from] sqlx::Error),
}
