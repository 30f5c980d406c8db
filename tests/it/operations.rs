//! What operators did is on record: all of it, by whom, and for good.

use std::time::Duration;

use libtest_mimic::Trial;
use projectord::control::{Control, ControlError};
use projectord::projector::Rebuild;
use serde_json::Value;
use sqlx::Executor;

use crate::support::{Project, text, trial};

const STREAM: &str = "6763e85f-f8d5-5bee-ad04-4ed1d6d49798";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("operations::what_was_done_is_on_record_with_who_did_it", everything_is_on_record),
        trial("operations::what_was_refused_is_not_on_record", refusals_are_not),
        trial("operations::a_name_that_none_has_is_not_found_whatever_is_asked", unknown_names),
        trial("operations::the_record_cannot_be_changed", it_is_append_only),
    ]
}

/// What is on record, the oldest first, as `what` and `detail`.
fn on_record(project: &Project, arguments: &[&str]) -> Vec<(String, Value)> {
    let lines = project.ok(&[&["operations", "--json"], arguments].concat());
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut all: Vec<_> =
        lines.map(|it| (it["what"].as_str().unwrap().to_owned(), it["detail"].clone())).collect();
    all.reverse();
    all
}

async fn everything_is_on_record() {
    let project = Project::new().await;
    project.ok(&["setup"]);
    assert_eq!(project.ok(&["operations"]), "nothing is on record\n");
    project.copy("projections/orders");
    project.write("fussy", "projection.toml", "on_error = \"park\"");
    project.write("fussy", "schema.sql", "create table t (n int);");
    project.write("fussy", "OrderCreated.sql", "insert into t values ((event.data ->> 'user_id')::int);");
    let order = |data: &str| project.ok(&["append", STREAM, "OrderCreated", data]);
    order(r#"{"user_id": "seven", "total": 1}"#);
    let daemon = project.daemon();
    project.until_value("select count(*) from projectord.parked", "1").await;
    project.until_state("orders", "halted").await;

    project.ok(&["pause", "orders"]);
    project.ok(&["resume", "orders"]);
    project.until_state("orders", "halted").await;
    project.ok(&["skip", "orders", "1", "--yes"]);
    assert_eq!(project.run(&["retry", "fussy", "--stream", STREAM]).status.code(), Some(3));
    project.until_state("orders", "live").await;
    project.ok(&["rebuild", "orders", "--verify", "--yes"]);
    project.ok(&["undo", "orders", "--yes"]);
    project.ok(&["verify", "orders"]);
    assert_eq!(daemon.stop(Duration::from_secs(10)).await, Some(0));
    project.ok(&["rebuild", "orders", "--in-place", "--yes"]);
    project.ok(&["rebuild", "orders", "--cancel"]);

    let orders = on_record(&project, &["orders"]);
    let whats: Vec<&str> = orders.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(
        whats,
        ["pause", "resume", "skip", "rebuild", "swap", "undo", "rebuild", "cancel", "rebuild", "cancel"]
    );
    let detail = |nth: usize, key: &str| orders[nth].1[key].clone();
    assert_eq!(detail(2, "position"), 1);
    assert_eq!([detail(3, "how"), detail(4, "to")], [Value::from("held"), Value::from(2)]);
    assert_eq!([detail(5, "from"), detail(5, "to")], [2, 1]);
    assert_eq!(detail(7, "generation"), 3);
    assert_eq!(detail(8, "how"), "in_place");
    let fussy = on_record(&project, &["fussy"]);
    assert_eq!(fussy, [("retry".to_owned(), serde_json::json!({"stream_id": STREAM, "events": 1}))]);
    assert_eq!(on_record(&project, &["--limit", "2"]).len(), 2);

    let who = project.command(&["pause", "orders"]).env("USER", "eve").output().unwrap();
    assert!(who.status.success());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let who = project.value("select who from projectord.operations order by operation desc limit 1").await;
    assert_eq!(who, format!("eve@{host}"));
    let shown = project.ok(&["operations", "orders", "--limit", "1"]);
    assert!(shown.contains("pause") && shown.contains("eve@"), "{shown}");
}

async fn refusals_are_not() {
    let project = Project::new().await;
    project.ok(&["setup"]);
    project.copy("projections/orders");
    project.ok(&["run", "--until-caught-up"]);
    project.ok(&["rebuild", "orders"]);
    for (arguments, code) in [
        (["pause", "nothing", ""].as_slice(), 5),
        (&["resume", "nothing"], 5),
        (&["rebuild", "orders"], 4),
        (&["rebuild", "nothing", "--cancel"], 5),
        (&["retry", "orders"], 5),
        (&["skip", "orders", "1", "--yes"], 5),
        (&["undo", "orders", "--yes"], 5),
    ] {
        let arguments: Vec<&str> = arguments.iter().copied().filter(|it| !it.is_empty()).collect();
        assert_eq!(project.run(&arguments).status.code(), Some(code), "{arguments:?}");
    }
    assert_eq!(on_record(&project, &[]).len(), 1);
}

async fn unknown_names() {
    let project = Project::new().await;
    project.ok(&["setup"]);
    let control = Control::new(project.pool.clone(), "ada");
    let asked = [
        control.rebuild("nothing", Rebuild::Beside, false).await.map(drop),
        control.skip("nothing", 1).await.map(drop),
        control.retry("nothing", None).await.map(drop),
        control.swap("nothing", false).await.map(drop),
        control.cancel("nothing").await.map(drop),
    ];
    for said in asked {
        assert!(
            matches!(&said, Err(ControlError::NotFound(what)) if what.contains("no projection")),
            "{said:?}"
        );
    }
}

async fn it_is_append_only() {
    let project = Project::new().await;
    project.ok(&["setup"]);
    project.copy("projections/orders");
    project.ok(&["run", "--until-caught-up"]);
    project.ok(&["pause", "orders"]);
    for change in [
        "update projectord.operations set who = 'nobody'",
        "delete from projectord.operations",
        "truncate projectord.operations",
    ] {
        let refused = project.pool.execute(change).await.unwrap_err();
        let code = refused.as_database_error().and_then(sqlx::error::DatabaseError::code);
        assert_eq!(code.as_deref(), Some("PJ003"), "{change}: {refused}");
    }
    // It outlives what it is about.
    project.pool.execute("delete from projectord.projections").await.unwrap();
    let shown = text(&project.run(&["operations"]).stdout);
    assert!(shown.contains("pause") && shown.contains("orders"), "{shown}");
}
