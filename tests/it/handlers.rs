//! What a handler does to its session, and what is done to its tables, is no other batch's trouble.

use libtest_mimic::Trial;
use serde_json::json;

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};

use crate::support::{Project, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("handlers::what_a_handler_sets_for_the_session_ends_with_its_batch", session_settings),
        trial("handlers::a_stale_plan_is_no_failure_of_the_event", stale_plan),
    ]
}

async fn append(project: &Project) {
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    let commit = Commit::new("counter", vec![NewEvent::from_json("Counted", json!({}))]);
    store.append_to_stream(StreamId::random(), ExpectedVersion::NoStream, commit).await.unwrap();
}

async fn session_settings() {
    let project = Project::new().await;
    project.ok(&["setup"]);
    for name in ["first", "second"] {
        project.write(name, "schema.sql", "create table seen (position bigint, zone text, mine text);");
        project.write(
            name,
            "Counted.sql",
            "insert into seen values (event.position, current_setting('timezone'), current_setting('lab.mine', true));
             perform set_config('timezone', 'Asia/Tokyo', false);
             perform set_config('search_path', 'pg_catalog', false);
             perform set_config('lab.mine', 'set', false);
             perform set_config('default_transaction_read_only', 'on', false);",
        );
    }
    // One connection for both.
    std::fs::write(project.folder.path().join("config.toml"), "[postgres]\nconnections = 1\n").unwrap();
    let _daemon = project.daemon();
    for count in 1..=4 {
        append(&project).await;
        for name in ["first", "second"] {
            project.until_value(&format!("select count(*) from {name}.seen"), &count.to_string()).await;
        }
    }
    for name in ["first", "second"] {
        let other =
            format!("select count(*) from {name}.seen where zone = 'Asia/Tokyo' or coalesce(mine, '') <> ''");
        assert_eq!(project.value(&other).await, "0", "{name}");
    }
}

/// As after a change of tables under a plan that a session has kept. A sequence counts the tries, since
/// nothing takes it back.
async fn stale_plan() {
    let project = Project::new().await;
    project.ok(&["setup"]);
    project.write("seen", "schema.sql", "create table seen (position bigint); create sequence tries;");
    project.write(
        "seen",
        "Counted.sql",
        "if nextval('tries') % 3 <> 0 then
             raise exception 'cached plan must not change result type' using errcode = '0A000';
         end if;
         insert into seen values (event.position);",
    );
    let _daemon = project.daemon();
    for count in 1..=3 {
        append(&project).await;
        project.until_value("select count(*) from seen.seen", &count.to_string()).await;
    }
    assert_eq!(project.value("select last_value from seen.tries").await, "9");
    assert_eq!(project.value("select state from projectord.projections").await, "live");
}
