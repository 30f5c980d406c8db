//! `projectord explain` shows a row and the events that made it, and says why where it cannot.

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{Project, text, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("explaining::a_row_is_shown_with_the_events_that_made_it", row),
        trial("explaining::a_key_of_several_columns_is_given_in_order", composite),
        trial("explaining::events_that_were_left_out_are_marked", left_out),
        trial("explaining::what_is_missing_is_said", missing),
    ]
}

const ORDER: &str = "6763e85f-f8d5-5bee-ad04-4ed1d6d49798";

async fn project() -> Project {
    let project = Project::new().await;
    project.copy("projections/orders");
    project.write("orders", "projection.toml", "row_stream = \"orders.id\"\n");
    project.ok(&["setup"]);
    for (event_type, data) in [
        ("OrderCreated", r#"{"user_id": 7, "total": 12.5}"#),
        ("OrderLookedAt", "{}"),
        ("StatusChanged", r#"{"status": "paid"}"#),
    ] {
        project.ok(&["append", ORDER, event_type, data]);
    }
    project.ok(&["append", "00000000-0000-4000-8000-000000000001", "OrderCreated", r#"{"user_id": 8}"#]);
    project
}

async fn row() {
    let project = project().await;
    project.ok(&["run", "--until-caught-up"]);
    // Not applied yet.
    project.ok(&["append", ORDER, "StatusChanged", r#"{"status": "shipped"}"#]);
    let said = project.ok(&["explain", "orders", ORDER]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "orders.orders");
    assert!(lines.iter().any(|line| line.split_whitespace().eq(["status", "paid"])), "{said}");
    assert!(said.contains(&format!("2 events of stream {ORDER}, up to position 4")), "{said}");
    let events = &lines[lines.len() - 2..];
    assert!(events[0].starts_with("       1    1  OrderCreated  20"), "{said}");
    assert!(events[0].contains("  OrderCreated.sql  {") && events[0].contains("12.5"), "{said}");
    assert!(events[1].starts_with("       3    3  StatusChanged  "), "{said}");
    let json: Value = serde_json::from_str(&project.ok(&["explain", "orders", ORDER, "--json"])).unwrap();
    assert_eq!((&json["row"]["status"], &json["checkpoint"]), (&"paid".into(), &4.into()));
    assert_eq!(json["events"].as_array().unwrap().len(), 2);
    let event = &json["events"][1];
    assert_eq!((&event["position"], &event["version"]), (&3.into(), &3.into()));
    assert_eq!((&event["type"], &event["handler"]), (&"StatusChanged".into(), &"StatusChanged.sql".into()));
    assert_eq!(event["data"]["status"], "paid");
}

async fn composite() {
    let project = project().await;
    project.write(
        "history",
        "projection.toml",
        "row_stream = \"History.order\"\n[on]\n\"*\" = \"any.sql\"\n",
    );
    let schema = "create table \"History\" (\"order\" uuid, version bigint, at date, primary key (version, \"order\"));";
    project.write("history", "schema.sql", schema);
    project.write("history", "any.sql", "insert into \"History\" values (event.stream_id, event.version);");
    project.ok(&["check"]);
    project.ok(&["run", "--until-caught-up"]);
    let said = project.ok(&["explain", "history", "2", ORDER]);
    assert!(said.contains("version  2") && said.contains("3 events of stream"), "{said}");
}

async fn left_out() {
    let project = project().await;
    project.write("orders", "projection.toml", "row_stream = \"orders.id\"\non_error = \"park\"\n");
    project.write("orders", "StatusChanged.sql", "raise exception 'no';");
    project.ok(&["run", "--until-caught-up"]);
    let said = project.ok(&["explain", "orders", ORDER]);
    assert!(said.lines().last().unwrap().contains("StatusChanged.sql  (parked)"), "{said}");
}

async fn missing() {
    let project = project().await;
    project.write("silent", "schema.sql", "create table t (n bigint);");
    project.write("silent", "OrderCreated.sql", "insert into t values (event.position);");
    for (name, row_stream) in
        [("no_table", "u.id"), ("no_column", "t.ids"), ("no_key", "keyless.id"), ("other_key", "t.stream")]
    {
        let schema = "create table t (id bigint primary key, stream uuid); create table keyless (id uuid);";
        project.write(name, "schema.sql", schema);
        project.write(name, "OrderCreated.sql", "insert into t values (event.position);");
        project.write(name, "projection.toml", &format!("row_stream = \"{row_stream}\""));
    }
    let fails = |arguments: &[&str], code: i32, reason: &str| {
        let output = project.run(&[&["explain"], arguments].concat());
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(reason), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty() && said.lines().count() == 1, "{arguments:?}: {said}");
    };
    fails(&["orders", ORDER], 5, "there is no table orders.orders; has orders run yet?");
    project.ok(&["run", "--until-caught-up"]);
    fails(&["silent", "1"], 78, "row_stream = \"table.column\"");
    fails(&["nobody", "1"], 5, "no projection \"nobody\"");
    fails(&["no_table", "1"], 5, "no table no_table.u");
    fails(&["no_column", "1"], 5, "no_column.t has no column ids");
    fails(&["no_key", ORDER], 5, "no_key.keyless has no primary key");
    fails(&["orders", ORDER, "2"], 2, "the primary key of orders.orders is (id): 1 wanted, 2 given");
    fails(&["orders", "7"], 2, "no key of orders.orders: invalid input syntax for type uuid");
    fails(&["orders", "00000000-0000-4000-8000-00000000000f"], 5, "orders.orders has no row with id = 0000");
    fails(&["other_key", "1"], 5, "other_key.t.stream of the row with id = 1 is null");
    fails(&["other_key", "-1"], 5, "no row with id = -1");
}
