//! Many projections share few sessions of PostgreSQL, and none of them goes without.

use libtest_mimic::Trial;
use serde_json::json;

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};

use crate::support::{Project, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("sessions::one_is_enough_for_many_projections", || many_on("1")),
        trial("sessions::three_are_enough_for_many_projections", || many_on("3")),
    ]
}

const PROJECTIONS: usize = 12;

async fn many_on(sessions: &str) {
    let project = Project::new().await;
    for nth in 0..PROJECTIONS {
        let name = format!("counts_{nth}");
        project.write(
            &name,
            "schema.sql",
            "create table counted (n bigint not null); insert into counted values (0);",
        );
        project.write(&name, "Counted.sql", "update counted set n = n + 1;");
    }
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    let _daemon = project.daemon_with(&[("PROJECTORD_POSTGRES__CONNECTIONS", sessions)]);
    let all = |what: &str| {
        format!(
            "select count(*) = {PROJECTIONS} and bool_and({what}) from projectord.projections p
               join projectord.generations g on g.projection = p.name and g.generation = p.generation,
                    projectord.log_head h"
        )
    };
    project.until_value(&all("p.state = 'live'"), "true").await;
    // One by one, so that each event is a batch of each projection.
    for nth in 1..=20 {
        let commit = Commit::new("counter", vec![NewEvent::from_json("Counted", json!({ "n": nth }))]);
        store.append_to_stream(StreamId::random(), ExpectedVersion::NoStream, commit).await.unwrap();
        project.until_value(&all("g.checkpoint = h.position"), "true").await;
    }
    assert_eq!(project.value(&all("p.state = 'live' and g.events = 20")).await, "true");
}
