//! A writer that embeds the store: an aggregate, and load → decide → append with retry on conflict.
//!
//! ```text
//! cargo run --example order_writer --features testing                     # in memory
//! cargo run --example order_writer --features testing -- postgres://…     # the PostgreSQL log
//! cargo run --example order_writer --features testing -- rethinkdb://…    # RethinkDB
//! ```

use std::error::Error;
use std::sync::Arc;

use projectord::event::{Commit, Event, NewEvent, StreamId, Version};
use projectord::store::{
    AppendError, EventStore, ExpectedVersion, LoadError, MemoryStore, PostgresStore, RethinkStore, Settings,
};
use serde::{Deserialize, Serialize};

/// What happens to orders. The payloads are typed; the store keeps them as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct OrderCreated {
    user_id: u32,
    total: f64,
}

#[derive(Debug, Serialize, Deserialize)]
struct StatusChanged {
    status: String,
}

/// The aggregate: what deciding needs to know, and nothing else.
#[derive(Debug, Default, PartialEq)]
struct Order {
    exists: bool,
    status: String,
}

impl Order {
    /// What the events so far make of it.
    fn replay(events: &[Event]) -> Result<Self, serde_json::Error> {
        let mut order = Self::default();
        for event in events {
            match event.event_type.as_str() {
                "OrderCreated" => order = Self { exists: true, status: "created".into() },
                "StatusChanged" => order.status = event.data::<StatusChanged>()?.status,
                _ => {}
            }
        }
        Ok(order)
    }

    /// Decides: the events that follow from the wish, or why it cannot be.
    fn change_status(&self, status: &str) -> Result<Vec<NewEvent>, Box<dyn Error + Send + Sync>> {
        if !self.exists {
            return Err("there is no such order".into());
        }
        if self.status == "delivered" {
            return Err("a delivered order stays delivered".into());
        }
        if self.status == status {
            return Ok(Vec::new());
        }
        Ok(vec![NewEvent::new("StatusChanged", &StatusChanged { status: status.into() })?])
    }
}

/// Load → decide → append at the version that was decided on. Somebody else was first? Decide again.
async fn change_status(
    store: &dyn EventStore,
    id: StreamId,
    status: &str,
) -> Result<Version, Box<dyn Error + Send + Sync>> {
    loop {
        let loaded = match store.load_stream(id, Version(1)).await {
            Ok(loaded) => loaded,
            Err(LoadError::NotFound(_)) => return Err("there is no such order".into()),
            Err(other) => return Err(other.into()),
        };
        let events = Order::replay(&loaded.events)?.change_status(status)?;
        if events.is_empty() {
            return Ok(loaded.version);
        }
        let expected = ExpectedVersion::Exact(loaded.version);
        match store.append_to_stream(id, expected, Commit::new("order", events)).await {
            Ok(appended) => return Ok(appended.version),
            Err(AppendError::Conflict { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
}

async fn create(
    store: &dyn EventStore,
    order: &OrderCreated,
) -> Result<StreamId, Box<dyn Error + Send + Sync>> {
    let id = StreamId::random();
    let commit = Commit::new("order", vec![NewEvent::new("OrderCreated", order)?]);
    store.append_to_stream(id, ExpectedVersion::NoStream, commit).await?;
    Ok(id)
}

async fn open(url: Option<String>) -> Result<Arc<dyn EventStore>, Box<dyn Error + Send + Sync>> {
    Ok(match url {
        Some(url) if url.starts_with("rethinkdb") => {
            let store = RethinkStore::new(url.parse()?, Settings::default());
            store.setup().await?;
            Arc::new(store)
        }
        Some(url) => {
            let store = PostgresStore::new(&url.parse()?, Settings::default());
            store.setup().await?;
            Arc::new(store)
        }
        None => Arc::new(MemoryStore::default()),
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let store = open(std::env::args().nth(1)).await?;
    let id = create(&*store, &OrderCreated { user_id: 7, total: 12.5 }).await?;

    // Four clerks at once: each sees the others' decisions, none is lost.
    let clerks = ["paid", "packed", "sent", "delivered"].map(|status| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { (status, change_status(&*store, id, status).await) })
    });
    for clerk in clerks {
        match clerk.await? {
            (status, Ok(version)) => println!("{status}: version {version}"),
            (status, Err(reason)) => println!("{status}: refused, {reason}"),
        }
    }
    let loaded = store.load_stream(id, Version(1)).await?;
    println!("order {id} is {:?} at version {}", Order::replay(&loaded.events)?.status, loaded.version);
    Ok(())
}
