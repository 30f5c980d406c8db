//! What an operator does, over HTTP, to a daemon that runs.

use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{STREAM, commit, get, order, orders, post, sent, stream};
use crate::support::{Project, Site, trial, until};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("http_api::a_projection_is_paused_and_goes_on", pause),
        trial("http_api::a_rebuild_is_held_compared_swapped_and_undone", rebuild),
        trial("http_api::a_second_rebuild_is_a_conflict_and_a_cancelled_one_is_gone", second_rebuild),
        trial("http_api::parked_events_are_listed_retried_and_skipped", parked),
        trial(
            "http_api::a_plan_has_its_place_until_it_has_ended_also_where_nobody_waits",
            one_plan_at_a_time,
        ),
        trial("http_api::what_waits_too_long_for_a_batch_may_be_asked_again", in_hand),
        trial("http_api::what_was_done_is_on_record_under_the_name_of_the_token", on_record),
    ]
}

/// Asks for something to be done; what was said.
async fn done(site: &Site, projection: &str, verb: &str, body: &str) -> String {
    let answer = post(site, &format!("/api/v1/projections/{projection}/{verb}"), body).await;
    assert_eq!(answer.status, 202, "{verb}: {answer:?}");
    answer.json()["said"].as_str().unwrap().to_owned()
}

async fn refused(site: &Site, verb: &str, body: &str, status: u16) -> String {
    let answer = post(site, &format!("/api/v1/projections/orders/{verb}"), body).await;
    assert_eq!(answer.status, status, "{verb}: {answer:?}");
    answer.problem()
}

async fn pause() {
    let (project, site) = orders().await;
    assert_eq!(done(&site, "orders", "pause", "").await, "orders will pause");
    project.until_state("orders", "paused").await;
    post(&site, &stream(STREAM), &commit("none", &order())).await;
    assert_eq!(done(&site, "orders", "resume", "{}").await, "orders will go on");
    project.until_value("select count(*) from orders.orders", "1").await;
    let form = site.ask("POST", "/api/v1/projections/orders/pause", "Content-Type: text/plain", "{}").await;
    assert_eq!(form.status, 415, "{form:?}");
}

async fn rebuild() {
    let (project, site) = orders().await;
    post(&site, &stream(STREAM), &commit("none", &order())).await;
    project.until_value("select count(*) from orders.orders", "1").await;
    let plan = get(&site, "/api/v1/projections/orders/plan").await;
    let lines: Vec<&str> = plan["lines"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert!(
        lines[0].starts_with("why ") && lines.iter().any(|it| it.starts_with("events   1 in the log")),
        "{plan}"
    );
    let nothing = site.get("/api/v1/projections/orders/differences").await;
    assert_eq!(nothing.status, 409, "{nothing:?}");
    refused(&site, "swap", "", 409).await;
    refused(&site, "undo", "", 404).await;
    refused(&site, "rebuild", r#"{"held": true, "in_place": true}"#, 422).await;

    assert_eq!(done(&site, "orders", "rebuild", r#"{"held": true}"#).await, "orders will be rebuilt");
    let held =
        "select held and caught_up_at is not null from projectord.generations where state = 'building'";
    project.until_value(held, "true").await;
    let lost = "update orders.orders set status = 'lost'";
    sqlx::query(lost).execute(&project.pool).await.unwrap();
    let found = get(&site, "/api/v1/projections/orders/differences").await;
    assert_eq!((&found["generation"], &found["position"]), (&json!(2), &json!(1)));
    let table = &found["tables"][0];
    assert_eq!(
        (&table["table"], &table["rows"], &table["different"]),
        (&json!("orders"), &json!(1), &json!(1))
    );
    let example = &table["examples"][0];
    assert_eq!(
        (&example["live"]["status"], &example["beside"]["status"]),
        (&json!("lost"), &json!("created"))
    );

    assert_eq!(done(&site, "orders", "swap", "").await, "readers of orders will see generation 2");
    project.until_value("select generation from projectord.projections", "2").await;
    assert_eq!(project.value("select status from orders.orders").await, "created");
    let found = get(&site, "/api/v1/projections/orders/differences").await;
    assert_eq!(found["generation"], 1, "what can be gone back to is compared too");
    assert!(done(&site, "orders", "undo", "").await.starts_with("readers of orders see generation 1 again"));
    assert_eq!(project.value("select status from orders.orders").await, "lost");
    done(&site, "orders", "rebuild", r#"{"in_place": true}"#).await;
    project.until_value("select status from orders.orders", "created").await;
}

async fn second_rebuild() {
    let (project, site) = orders().await;
    done(&site, "orders", "rebuild", r#"{"held": true}"#).await;
    let said = refused(&site, "rebuild", "", 409).await;
    assert!(said.contains("under way already"), "{said}");
    project.until_value("select count(*) from projectord.generations", "2").await;
    refused(&site, "rebuild", "", 409).await;
    assert!(done(&site, "orders", "cancel", "").await.contains("is cancelled"));
    assert_eq!(project.value("select count(*) from projectord.generations").await, "1");
    refused(&site, "cancel", "", 404).await;
    sqlx::query("create view public.sums as select count(*) from orders.orders")
        .execute(&project.pool)
        .await
        .unwrap();
    let said = refused(&site, "rebuild", "", 409).await;
    assert!(said.contains("view public.sums"), "{said}");
    assert_eq!(
        project.value("select string_agg(what, ' ' order by at) from projectord.operations").await,
        "rebuild cancel"
    );
}

async fn parked() {
    let project = Project::new().await;
    project.write("fussy", "projection.toml", "on_error = \"park\"");
    project.write("fussy", "schema.sql", "create table t (n int); create table gate (open bool);");
    project.write("fussy", "OrderCreated.sql", "insert into t values (1 / (select count(*) from gate));");
    project.write("fussy", "StatusChanged.sql", "insert into t values (2);");
    let site = Site::start(&project, &[]).await;
    project.until_state("fussy", "live").await;
    post(&site, &stream(STREAM), &commit("none", &order())).await;
    post(&site, &stream(STREAM), &commit(1, &sent())).await;
    project.until_value("select count(*) from projectord.parked", "2").await;

    let list = get(&site, "/api/v1/parked").await;
    let events = list["parked"].as_array().unwrap();
    assert_eq!((&events[0]["position"], &events[0]["state"]), (&json!(1), &json!("parked")));
    assert_eq!((&events[0]["error"]["sqlstate"], &events[1]["error"]), (&json!("22012"), &Value::Null));
    let page = get(&site, "/api/v1/parked?projection=fussy&limit=1").await;
    assert_eq!(page["parked"].as_array().unwrap().len(), 1);
    for query in ["projection=fussy&after=1", "after=1"] {
        let page = get(&site, &format!("/api/v1/parked?{query}")).await;
        assert_eq!(
            (page["parked"].as_array().unwrap().len(), &page["parked"][0]["position"]),
            (1, &json!(2))
        );
    }
    let wait = site.get(&format!("/api/v1/projections/fussy/wait?stream={STREAM}&version=1")).await;
    assert_eq!((wait.status, &wait.json()["type"]), (409, &json!("/problems/parked")), "{wait:?}");

    let nothing = post(&site, "/api/v1/projections/fussy/skip", r#"{"position": 9}"#).await;
    assert_eq!(nothing.status, 404, "{nothing:?}");
    assert_eq!(done(&site, "fussy", "skip", r#"{"position": 1}"#).await, "fussy will go on without event 1");
    let retried =
        post(&site, "/api/v1/projections/fussy/retry", &json!({"stream": STREAM}).to_string()).await;
    assert_eq!((retried.status, &retried.json()["asked"]), (202, &json!(1)), "{retried:?}");
    project.until_value("select count(*) from projectord.parked", "0").await;
    let nothing = post(&site, "/api/v1/projections/fussy/retry", r#"{"stream": null}"#).await;
    assert_eq!(nothing.status, 404, "{nothing:?}");
    let list = get(&site, "/api/v1/parked").await;
    assert!(list["parked"][0]["state"].as_str().unwrap().starts_with("skipped by "), "{list}");
}

async fn one_plan_at_a_time() {
    let (project, site) = orders().await;
    let path = "/api/v1/projections/orders/plan";
    let mut batch = project.pool.begin().await.unwrap();
    sqlx::query("lock table orders.orders in access exclusive mode").execute(&mut *batch).await.unwrap();
    let mut gone = site.connect().await;
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    gone.write_all(head.as_bytes()).await.unwrap();
    let waits = "select count(*) > 0 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    project.until_value(waits, "true").await;
    let second = site.get(path).await;
    assert_eq!((second.status, second.header("retry-after").is_some()), (503, true), "{second:?}");
    drop(gone);
    until("the daemon knows that it has gone", Duration::from_secs(10), async || {
        site.get("/metrics").await.body.contains("projectord_http_connections 1\n")
    })
    .await;
    let third = tokio::time::timeout(Duration::from_secs(10), site.get(path)).await;
    assert_eq!(third.expect("it is refused at once").status, 503);
    batch.rollback().await.unwrap();
    until("there is room", Duration::from_secs(30), async || site.get(path).await.status == 200).await;
}

async fn in_hand() {
    let (project, site) = orders().await;
    let mut batch = project.pool.begin().await.unwrap();
    sqlx::query("select from projectord.projections for update").execute(&mut *batch).await.unwrap();
    let waits = "from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database() and query like 'update projectord.projections%wanted%'";
    let limit = async {
        project.until_value(&format!("select count(*) > 0 {waits}"), "true").await;
        project.value(&format!("select bool_or(pg_cancel_backend(pid))::text {waits}")).await
    };
    let (answer, _) = tokio::join!(site.post("/api/v1/projections/orders/pause", ""), limit);
    assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true), "{answer:?}");
    assert!(answer.problem().contains("a batch is in hand") && !answer.body.contains("batch_timeout"));
}

async fn on_record() {
    let project = Project::new().await;
    project.copy("projections/orders");
    let tokens = "operate ada s3cret-of-ada\noperate http s3cret-of-http\nread bob s3cret-of-bob";
    let site = Site::start(&project, &[("PROJECTORD_HTTP__TOKENS", tokens)]).await;
    project.until_state("orders", "live").await;
    let headers = |token: &str| format!("Content-Type: application/json\nAuthorization: Bearer {token}");
    let pause = "/api/v1/projections/orders/pause";
    assert_eq!(site.ask("POST", pause, &headers("s3cret-of-ada"), "").await.status, 202);
    assert_eq!(site.ask("POST", pause, &headers("s3cret-of-bob"), "").await.status, 403);
    project.ok(&["resume", "orders"]);
    let list = site.ask("GET", "/api/v1/operations?limit=10", &headers("s3cret-of-bob"), "").await.json();
    let told: Vec<(String, String)> = list["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["what"].as_str().unwrap().to_owned(), it["who"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(told.len(), 2, "{list}");
    assert_eq!(told[0].0, "resume");
    assert!(told[0].1.contains('@'), "{list}");
    assert_eq!(told[1], ("pause".to_owned(), "http ada".to_owned()));
    assert_eq!(list["operations"][0]["projection"], "orders");
    // A name is a name, whatever we call ourselves.
    assert_eq!(site.ask("POST", pause, &headers("s3cret-of-http"), "").await.status, 202);
    assert_eq!(
        project.value("select who from projectord.operations order by at desc limit 1").await,
        "http http"
    );
}
