//! The API: what the command line can do, over HTTP, and what is answered to whoever asks for something else.

mod curl;
mod live;
mod operate;
mod streams;

use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{Answer, Project, Site, trial, until};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("http_api::what_nobody_can_mean_is_a_problem_and_does_nothing", nonsense),
        trial("http_api::its_description_is_served", description),
        trial("http_api::status_is_that_of_the_command_line", status),
    ];
    trials.extend(streams::trials());
    trials.extend(live::trials());
    trials.extend(operate::trials());
    trials.extend(curl::trials());
    trials
}

const STREAM: &str = "6763e85f-f8d5-5bee-ad04-4ed1d6d49798";
const OTHER: &str = "6763e85f-f8d5-5bee-ad04-4ed1d6d49799";

fn stream(id: &str) -> String {
    format!("/api/v1/streams/{id}")
}

/// A commit of one order, or of what becomes of it.
fn commit(expected: impl Into<Value>, events: &Value) -> String {
    json!({"expected_version": expected.into(), "stream_type": "order", "events": events}).to_string()
}

fn order() -> Value {
    json!([{"type": "OrderCreated", "data": {"user_id": 7, "total": 12.5}}])
}

fn sent() -> Value {
    json!([{"type": "StatusChanged", "data": {"status": "sent"}, "metadata": {"by": "ada"}}])
}

/// A daemon with the projection `orders`, that answers.
async fn orders() -> (Project, Site) {
    let project = Project::new().await;
    project.copy("projections/orders");
    let site = Site::start(&project, &[]).await;
    project.until_state("orders", "live").await;
    (project, site)
}

/// Asks for it, and it is what was wanted.
async fn get(site: &Site, path: &str) -> Value {
    let answer = site.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

async fn post(site: &Site, path: &str, body: &str) -> Answer {
    site.post(path, body).await
}

async fn nonsense() {
    let (project, site) = orders().await;
    let long = "a".repeat(10_000);
    for path in [
        "/api/v1/projections/nothing".to_owned(),
        format!("/api/v1/projections/{long}"),
        "/api/v1/projections/%00".into(),
        "/api/v1/projections/..".into(),
        "/api/v1/projections/%2e%2e%2fetc".into(),
        "/api/v1/projections/%ff".into(),
        "/api/v1/projections/orders%20".into(),
        "/api/v1/projections/Orders".into(),
        "/api/v1/projections/nothing/plan".into(),
        "/api/v1/projections/nothing/differences".into(),
        format!("/api/v1/projections/nothing/wait?stream={STREAM}&version=1"),
        "/api/v1/streams/nothing".into(),
        format!("/api/v1/streams/{STREAM}"),
        "/api/v1/parked?projection=nothing".into(),
        "/api/v1/operations?projection=%00".into(),
    ] {
        let answer = site.get(&path).await;
        assert_eq!(answer.status, 404, "{path:.60}: {answer:?}");
        assert!(answer.problem().len() < 500, "a long name is not repeated");
    }
    for path in [
        "/api/v1/events?limit=0",
        "/api/v1/events?limit=1001",
        "/api/v1/events?limit=-1",
        "/api/v1/events?after=-1",
        "/api/v1/events?after=99999999999999999999",
        "/api/v1/events?type=",
        "/api/v1/events?type=%00",
        "/api/v1/events?type=[a-z]*",
        "/api/v1/events?stream=nothing",
        "/api/v1/events?newest=perhaps",
        "/api/v1/events?sort=position",
        "/api/v1/events/live?after=x",
        "/api/v1/operations?limit=0",
        "/api/v1/parked?after=x",
        "/api/v1/projections/orders/wait",
        "/api/v1/projections/orders/wait?stream=nothing&version=1",
        &format!("/api/v1/projections/orders/wait?stream={STREAM}&version=0"),
        &format!("/api/v1/projections/orders/wait?stream={STREAM}&version=1&timeout=5"),
        &format!("/api/v1/projections/orders/wait?stream={STREAM}&version=1&timeout=2h"),
    ] {
        let answer = site.get(path).await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        answer.problem();
    }
    for verb in ["pause", "resume", "rebuild", "cancel", "swap", "undo", "retry", "skip"] {
        for (body, status) in [("{", 400), ("[]", 400), (r#"{"sure": true}"#, 400), ("\u{1}", 400)] {
            let answer = site.post(&format!("/api/v1/projections/orders/{verb}"), body).await;
            assert_eq!(answer.status, status, "{verb} {body}: {answer:?}");
            answer.problem();
        }
        let body = if verb == "skip" { r#"{"position": 1}"# } else { "" };
        for name in ["nothing", "%00", "..", &long] {
            let answer = site.post(&format!("/api/v1/projections/{name}/{verb}"), body).await;
            assert_eq!(answer.status, 404, "{name:.20} {verb}: {answer:?}");
        }
        let answer = site.get(&format!("/api/v1/projections/orders/{verb}")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{answer:?}");
    }
    assert_eq!(project.value("select count(*) from projectord.operations").await, "0");
    assert_eq!(project.value("select wanted from projectord.projections").await, "running");
}

async fn description() {
    let (_project, site) = orders().await;
    let api = get(&site, "/api/v1/openapi.json").await;
    assert_eq!(api["openapi"], "3.1.0");
    for path in api["paths"].as_object().unwrap().keys().filter(|path| !path.contains("/live")) {
        let path = path.replace("{name}", "orders").replace("{stream}", STREAM);
        assert!(!site.get(&path).await.body.contains("there is nothing at"), "{path}");
    }
}

async fn status() {
    let (project, site) = orders().await;
    let told: Value = serde_json::from_str(&project.ok(&["status", "--json"])).unwrap();
    let mut asked = Value::Null;
    // An answer may be a second old.
    until("it is the status of now", Duration::from_secs(10), async || {
        asked = site.get("/api/v1/status").await.json();
        asked["projections"][0]["state"] == "live"
    })
    .await;
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&told), keys(&asked));
    assert_eq!(keys(&told["projections"][0]), keys(&asked["projections"][0]));
    assert_eq!(told["daemons"][0]["id"], asked["daemons"][0]["id"]);
    let all = get(&site, "/api/v1/projections").await;
    let one = get(&site, "/api/v1/projections/orders").await;
    assert_eq!(keys(&all["projections"][0]), keys(&one));
    assert_eq!((&one["name"], &one["state"]), (&json!("orders"), &json!("live")));
    assert_eq!(all["projections"].as_array().unwrap().len(), 1);
}
