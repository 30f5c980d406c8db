//! Projections that want none of what has come move on together, without a batch of their own.

use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};

use crate::support::{Project, trial, until};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("passing::those_that_want_none_move_together", move_together),
        trial("passing::an_event_that_is_wanted_is_never_passed_over", never_what_is_wanted),
        trial("passing::only_whoever_may_moves_a_checkpoint", only_whoever_may),
        trial("passing::an_event_that_is_parked_or_skipped_makes_no_difference", parked_and_skipped),
    ]
}

const SELDOM: usize = 20;

async fn project() -> (Project, PostgresStore) {
    let project = Project::new().await;
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    (project, store)
}

/// A projection that counts the events of a type.
fn write(project: &Project, name: &str, event_type: &str) {
    project.write(
        name,
        "schema.sql",
        "create table counted (n bigint not null); insert into counted values (0);",
    );
    project.write(
        name,
        &format!("{event_type}.sql"),
        "update counted set n = n + (event.data->>'n')::bigint;",
    );
}

async fn append(store: &PostgresStore, event_type: &str) {
    append_to(store, StreamId::random(), event_type, &json!(1)).await;
}

async fn append_to(store: &PostgresStore, stream: StreamId, event_type: &str, n: &Value) {
    let commit = Commit::new("counter", vec![NewEvent::from_json(event_type, json!({ "n": n }))]);
    store.append_to_stream(stream, ExpectedVersion::Any, commit).await.unwrap();
}

/// Waits until all live generations are at the log's head.
async fn until_all_are_there(project: &Project) {
    let all =
        "select bool_and(g.checkpoint = h.position) from projectord.generations g, projectord.log_head h";
    project.until_value(all, "true").await;
}

async fn move_together() {
    let (project, store) = project().await;
    write(&project, "often", "Often");
    (0..SELDOM).for_each(|nth| write(&project, &format!("seldom_{nth}"), "Seldom"));
    let _daemon = project.daemon();
    project
        .until_value("select count(*) filter (where state = 'live') from projectord.projections", "21")
        .await;
    // By the transactions that wrote their rows last. A batch for each would be as many; the first one that hears the bell
    // may go alone.
    let transactions =
        "select count(distinct xmin::text) from projectord.generations where projection like 'seldom%'";
    until("they move together", Duration::from_secs(30), async || {
        append(&store, "Often").await;
        until_all_are_there(&project).await;
        project.value(transactions).await.parse::<usize>().unwrap() <= 3
    })
    .await;
    assert_eq!(
        project.value("select n = (select position from projectord.log_head) from often.counted").await,
        "true"
    );
    assert_eq!(
        project.value("select sum(events) from projectord.generations where projection like 'seldom%'").await,
        "0"
    );
    project.ok(&["audit"]);
}

async fn never_what_is_wanted() {
    let (project, store) = project().await;
    (0..SELDOM).for_each(|nth| write(&project, &format!("wants_{nth}"), &format!("Type{}", nth % 5)));
    project.write("wants_0", "projection.toml", "[on]\n\"Type*\" = \"Type0.sql\"\n");
    let daemon = project.daemon();
    project
        .until_value("select count(*) filter (where state = 'live') from projectord.projections", "20")
        .await;
    // At once and one by one, so that some are passed over while others are applied.
    for nth in 0..300 {
        append(&store, &format!("Type{}", nth % 6)).await;
        if nth % 30 == 0 {
            until_all_are_there(&project).await;
        }
    }
    until_all_are_there(&project).await;
    for nth in 0..SELDOM {
        let wanted = if nth == 0 { "300" } else { "50" };
        assert_eq!(project.value(&format!("select n from wants_{nth}.counted")).await, wanted, "wants_{nth}");
    }
    project.ok(&["audit"]);
    drop(daemon);
    let log = project.log();
    assert!(!log.contains("somebody else moved the checkpoint"), "{log}");
}

async fn only_whoever_may() {
    let (project, store) = project().await;
    for (name, event_type) in [("seldom", "Seldom"), ("often", "Often")] {
        write(&project, name, event_type);
    }
    append(&store, "Often").await;
    project.ok(&["run", "--until-caught-up"]);
    append(&store, "Often").await;
    let (mine, pass) = (
        "select projection, generation, checkpoint, owner, epoch from projectord.generations",
        |change: &str, most: u32| {
            format!(
                "select coalesce(string_agg(p.projection || ' ' || p.checkpoint, ', '), 'none') from (
                     select array_agg(projection) a, array_agg(generation) b, array_agg(checkpoint) c,
                            array_agg(owner) d, array_agg(epoch) e from ({change}) changed) known,
                 projectord.pass_over(a, b, c, d, e, {most}) p"
            )
        },
    );
    for (what, change) in [
        ("another place", mine.replace("checkpoint", "checkpoint - 1 as checkpoint")),
        ("another owner", mine.replace("owner", "gen_random_uuid() as owner")),
        ("another epoch", mine.replace("epoch", "epoch + 1 as epoch")),
        ("another generation", mine.replace("generation,", "generation + 1 as generation,")),
    ] {
        assert_eq!(project.value(&pass(&change, 1000)).await, "none", "{what}");
    }
    assert_eq!(project.value(&pass(mine, 0)).await, "none", "too far behind");
    // Whoever holds it, a batch or somebody who takes over, is not waited for.
    let mut held = project.pool.begin().await.unwrap();
    sqlx::query("select from projectord.generations where projection = 'seldom' for update")
        .execute(&mut *held)
        .await
        .unwrap();
    assert_eq!(project.value(&pass(mine, 1000)).await, "none", "held by another");
    held.rollback().await.unwrap();
    assert_eq!(project.value(&pass(mine, 1000)).await, "seldom 2");
    assert_eq!(project.value(&pass(mine, 1000)).await, "seldom 2", "where it is already");
    project.ok(&["audit"]);
    // The log was put back to where one of them is: what is wrong with the other is for a batch to say.
    sqlx::query("update projectord.log_head set position = 1").execute(&project.pool).await.unwrap();
    assert_eq!(project.value(&pass(mine, 1000)).await, "often 1", "ahead of the log");
}

async fn parked_and_skipped() {
    let (project, store) = project().await;
    write(&project, "counts", "Counted");
    project.write("counts", "projection.toml", "on_error = \"park\"\n");
    let daemon = project.daemon();
    project.until_state("counts", "live").await;
    let stream = StreamId::random();
    append_to(&store, stream, "Counted", &json!("wrong")).await;
    until_all_are_there(&project).await;
    // Not wanted, then wanted, in the stream that waits.
    for event_type in ["Other", "Other", "Counted", "Other"] {
        append_to(&store, stream, event_type, &json!(1)).await;
        until_all_are_there(&project).await;
    }
    let parked = "select string_agg(position::text, ' ' order by position) from projectord.parked";
    assert_eq!(project.value(parked).await, "1 4");
    project.ok(&["skip", "counts", "1", "--yes"]);
    project.ok(&["retry", "counts"]);
    project.until_value("select count(*) from projectord.parked", "0").await;
    assert_eq!(project.value("select n from counts.counted").await, "1");
    project.ok(&["audit"]);
    drop(daemon);
}
