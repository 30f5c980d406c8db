//! A projection whose handlers are Rust, in a program of one's own: totals of orders per customer.
//!
//! ```sh
//! export PROJECTORD_POSTGRES__URL=postgres://localhost:5432/shop
//! cargo run --example rust_projection                       # runs until Ctrl-C
//! cargo run --example rust_projection -- --until-caught-up  # or until everything is there
//! ```

use async_trait::async_trait;
use projectord::config;
use projectord::daemon::{Daemon, Outcome};
use projectord::log::LogEvent;
use projectord::projection::{HandlerError, Projection};
use serde::Deserialize;
use sqlx::PgConnection;

/// What an order is when it is made.
#[derive(Debug, Deserialize)]
struct OrderCreated {
    user_id: i32,
    total: f64,
}

/// Keeps the table `spending.customers`.
pub struct Spending;

#[async_trait]
impl Projection for Spending {
    fn name(&self) -> &str {
        "spending"
    }

    // Another one when the rows would come out differently: then they are built anew.
    fn revision(&self) -> &str {
        "1"
    }

    fn schema_sql(&self) -> &str {
        "create table customers (user_id integer primary key, orders bigint not null, cents bigint not null)"
    }

    fn handles(&self) -> &[&str] {
        &["OrderCreated"]
    }

    async fn apply(&self, events: &[LogEvent], rows: &mut PgConnection) -> Result<(), HandlerError> {
        for event in events {
            let order: OrderCreated = serde_json::from_value(event.data.clone())?;
            if !order.total.is_finite() || order.total < 0.0 {
                return Err(HandlerError::Refused(format!("a total of {} makes no sense", order.total)));
            }
            #[expect(clippy::cast_possible_truncation, reason = "cents of an order")]
            let cents = (order.total * 100.0).round() as i64;
            sqlx::query(
                "insert into customers values ($1, 1, $2) on conflict (user_id) do update
                    set orders = customers.orders + 1, cents = customers.cents + excluded.cents",
            )
            .bind(order.user_id)
            .bind(cents)
            .execute(&mut *rows)
            .await?;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // As the command line does it: defaults, config.toml, environment.
    let loaded = config::load(None)?;
    let level = loaded.config.log.start();
    let mut daemon = Daemon::builder(loaded.config).reload(loaded.file, level).projection(Spending);
    if std::env::args().any(|argument| argument == "--until-caught-up") {
        daemon = daemon.until_caught_up();
    }
    match daemon.run().await? {
        Outcome::Halted(names) => Err(format!("halted: {}", names.join(", ")).into()),
        Outcome::Stopped | Outcome::CaughtUp => Ok(()),
    }
}
