//! Appending, loading, reading the log, and reading one's own writes.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{OTHER, STREAM, commit, get, order, orders, post, sent, stream};
use crate::support::{Project, Site, rethink_trial, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("http_api::what_is_appended_is_read_back", read_back),
        rethink_trial("http_api::so_it_is_on_rethinkdb", read_back_on_rethinkdb),
        trial("http_api::a_commit_elsewhere_is_a_conflict_that_says_where", conflict),
        trial("http_api::the_same_commit_again_is_there_already", again),
        trial("http_api::a_commit_that_breaks_a_rule_is_refused_with_its_place", refused),
        trial("http_api::the_log_is_read_page_by_page", pages),
        trial("http_api::waiting_ends_when_the_rows_are_there", waiting),
        trial("http_api::rows_of_a_stream_are_found", rows),
    ]
}

async fn read_back() {
    let (_project, site) = orders().await;
    appended_is_read_back(&site).await;
}

async fn read_back_on_rethinkdb() {
    let project = Project::on_rethinkdb().await;
    project.ok(&["setup"]);
    let site = Site::start(&project, &[]).await;
    appended_is_read_back(&site).await;
}

async fn appended_is_read_back(site: &Site) {
    let first = post(site, &stream(STREAM), &commit("none", &order())).await;
    assert_eq!(first.status, 201, "{first:?}");
    let said = first.json();
    assert_eq!((&said["stream_id"], &said["version"]), (&json!(STREAM), &json!(1)));
    assert_eq!(said["already_there"], false);
    assert_eq!(post(site, &stream(STREAM), &commit(1.0, &sent())).await.status, 201);
    assert_eq!(post(site, &stream(STREAM), &commit("any", &sent())).await.json()["version"], 3);

    let loaded = get(site, &stream(STREAM)).await;
    assert_eq!((&loaded["version"], &loaded["stream_id"]), (&json!(3), &json!(STREAM)));
    let events = loaded["events"].as_array().unwrap();
    assert_eq!(events.len(), 3);
    assert_eq!(events[0]["data"], json!({"user_id": 7, "total": 12.5}));
    assert_eq!((&events[0]["metadata"], &events[1]["metadata"]), (&json!({}), &json!({"by": "ada"})));
    assert_eq!(events[0]["commit_id"], said["commit_id"]);
    let part = get(site, &format!("{}?from=2&limit=1", stream(STREAM))).await;
    assert_eq!((&part["version"], &part["events"][0]["version"]), (&json!(3), &json!(2)));
    assert_eq!(part["events"].as_array().unwrap().len(), 1);
    // Many are answered in pages, and large ones in smaller pages than are asked for.
    let many = json!(vec![json!({"type": "Looked", "data": {}}); 300]);
    assert_eq!(post(site, &stream(STREAM), &commit(3, &many)).await.status, 201);
    let all = get(site, &stream(STREAM)).await;
    let versions: Vec<u64> =
        all["events"].as_array().unwrap().iter().map(|it| it["version"].as_u64().unwrap()).collect();
    assert_eq!((versions, &all["version"]), ((1..=303).collect(), &json!(303)));
    let large = json!([{"type": "Looked", "data": {"text": "x".repeat(100_000)}}]);
    for version in 0..150 {
        let expected = if version == 0 { json!("none") } else { json!(version) };
        assert_eq!(post(site, &stream(OTHER), &commit(expected, &large)).await.status, 201);
    }
    let page = get(site, &stream(OTHER)).await;
    let found = page["events"].as_array().unwrap().len();
    assert!((40..=100).contains(&found) && page["version"] == 150, "{found}");
    let rest = get(site, &format!("{}?from={}", stream(OTHER), found + 1)).await;
    assert_eq!(rest["events"][0]["version"], found + 1);
    let none = get(site, &format!("{}?from=18446744073709551615", stream(STREAM))).await;
    assert_eq!((&none["version"], &none["events"]), (&json!(303), &json!([])));
}

async fn conflict() {
    let (_project, site) = orders().await;
    assert_eq!(post(&site, &stream(STREAM), &commit("none", &order())).await.status, 201);
    for (expected, shown) in [(json!("none"), json!("none")), (json!(7), json!(7)), (json!(0), json!(0))] {
        let answer = post(&site, &stream(STREAM), &commit(expected, &order())).await;
        assert_eq!(answer.status, 409, "{answer:?}");
        answer.problem();
        let problem = answer.json();
        assert_eq!(problem["type"], "/problems/conflict");
        assert_eq!((&problem["expected"], &problem["actual"]), (&shown, &json!(1)));
    }
    assert_eq!(get(&site, &stream(STREAM)).await["version"], 1);
}

async fn again() {
    let (project, site) = orders().await;
    let mut body: Value = serde_json::from_str(&commit("none", &order())).unwrap();
    body["commit_id"] = json!("0b0e5a4e-0000-4000-8000-000000000001");
    let body = body.to_string();
    let (first, second) =
        (post(&site, &stream(STREAM), &body).await, post(&site, &stream(STREAM), &body).await);
    assert_eq!((first.status, second.status), (201, 200), "{second:?}");
    let (first, second) = (first.json(), second.json());
    assert_eq!((&first["already_there"], &second["already_there"]), (&json!(false), &json!(true)));
    assert_eq!(
        (&first["version"], &first["commit_id"]),
        (&second["version"], &json!("0b0e5a4e-0000-4000-8000-000000000001"))
    );
    assert_eq!(project.value("select count(*) from projectord.events").await, "1");
}

async fn refused() {
    let (project, site) = orders().await;
    let event = |data: Value| json!([{"type": "A", "data": 1}, {"type": "B", "data": data}]);
    for (data, place, reason) in [
        (json!({"a": [1, "x\u{0}"]}), "event 2, data.a[1]", "\\u0000"),
        (json!({"n": 9_007_199_254_740_993_u64}), "event 2, data.n", "2^53"),
        (json!({"$reql_type$": 1}), "event 2, data.$reql_type$", "reserved"),
    ] {
        let answer = post(&site, &stream(STREAM), &commit("none", &event(data))).await;
        assert_eq!(answer.status, 422, "{answer:?}");
        let problem = answer.json();
        assert_eq!((&problem["type"], &problem["place"]), (&json!("/problems/refused"), &json!(place)));
        assert!(problem["reason"].as_str().unwrap().contains(reason), "{problem}");
    }
    let none = post(&site, &stream(STREAM), &commit("none", &json!([]))).await;
    assert_eq!(none.status, 422, "{none:?}");
    let large = json!([{"type": "A", "data": "x".repeat(2 << 20)}]);
    assert_eq!(post(&site, &stream(STREAM), &commit("none", &large)).await.status, 413);
    for body in [
        "not json",
        "{}",
        r#"{"expected_version": "none", "stream_type": "order", "events": [{"type": "A"}]}"#,
        r#"{"expected_version": -1, "stream_type": "order", "events": [{"type": "A", "data": 1}]}"#,
        r#"{"expected_version": 1.5, "stream_type": "order", "events": [{"type": "A", "data": 1}]}"#,
        r#"{"expected_version": 9007199254740992, "stream_type": "order", "events": [{"type": "A", "data": 1}]}"#,
        r#"{"expected_version": "some", "stream_type": "order", "events": [{"type": "A", "data": 1}]}"#,
        r#"{"expected_version": "any", "stream_type": "order", "evnts": [{"type": "A", "data": 1}]}"#,
        r#"{"expected_version": "any", "stream_type": "order", "commit_id": 1, "events": [{"type": "A", "data": 1}]}"#,
    ] {
        let answer = post(&site, &stream(STREAM), body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        answer.problem();
    }
    let deep = format!(
        r#"{{"expected_version": "any", "stream_type": "order", "events": [{{"type": "A", "data": {}1{}}}]}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    assert_eq!(post(&site, &stream(STREAM), &deep).await.status, 400);
    assert_eq!(project.value("select count(*) from projectord.events").await, "0");
}

async fn pages() {
    let (_project, site) = orders().await;
    for id in [STREAM, OTHER] {
        post(&site, &stream(id), &commit("none", &order())).await;
        post(&site, &stream(id), &commit(1, &sent())).await;
    }
    let at = |page: &Value| -> Vec<i64> {
        page["events"].as_array().unwrap().iter().map(|it| it["position"].as_i64().unwrap()).collect()
    };
    for (query, positions, read_to) in [
        ("", vec![1, 2, 3, 4], 4),
        ("?limit=3", vec![1, 2, 3], 3),
        ("?after=3&limit=3", vec![4], 4),
        ("?after=4", vec![], 4),
        ("?after=1000", vec![], 1000),
        ("?type=Status*", vec![2, 4], 4),
        ("?type=Status*&limit=1", vec![2], 2),
        ("?type=Nothing", vec![], 4),
        ("?newest=true&limit=2", vec![3, 4], 4),
        ("?newest=true&type=Order*&limit=1", vec![3], 4),
        (&format!("?stream={OTHER}"), vec![3, 4], 4),
        (&format!("?stream={OTHER}&limit=1&newest=true"), vec![4], 4),
        (&format!("?stream={STREAM}&after=1&type=StatusChanged"), vec![2], 4),
    ] {
        let page = get(&site, &format!("/api/v1/events{query}")).await;
        assert_eq!((at(&page), page["read_to"].as_i64()), (positions, Some(read_to)), "{query}");
        assert_eq!(page["head"], 4);
    }
    let page = get(&site, "/api/v1/events?limit=1").await;
    assert_eq!(page["events"][0]["type"], "OrderCreated");
}

async fn waiting() {
    let (project, site) = orders().await;
    let wait = |version: u64, timeout: &str| {
        format!("/api/v1/projections/orders/wait?stream={STREAM}&version={version}&timeout={timeout}")
    };
    assert_eq!(post(&site, &stream(STREAM), &commit("none", &order())).await.status, 201);
    assert_eq!(get(&site, &wait(1, "20s")).await, json!({"position": 1}));
    assert_eq!(project.value("select status from orders.orders").await, "created");
    let late = site.get(&wait(2, "100ms")).await;
    assert_eq!(late.status, 504, "{late:?}");
    assert!(late.problem().contains("does not have version 2"), "{late:?}");

    // One that begins before the event is there.
    let path = wait(2, "20s");
    let (answer, appended) =
        tokio::join!(site.get(&path), async { post(&site, &stream(STREAM), &commit(1, &sent())).await });
    assert_eq!((answer.status, appended.status), (200, 201), "{answer:?}");
    project.ok(&["pause", "orders"]);
    project.until_state("orders", "paused").await;
    post(&site, &stream(STREAM), &commit(2, &sent())).await;
    let late = site.get(&wait(3, "100ms")).await;
    assert!(late.status == 504 && late.problem().contains("orders is at 2, and the event at 3"), "{late:?}");
}

async fn rows() {
    let (project, site) = orders().await;
    project.write(
        "tags",
        "schema.sql",
        "create table tags (of_order uuid, tag text, also uuid); create table n (n int);",
    );
    project.write(
        "tags",
        "OrderCreated.sql",
        "insert into tags values (event.stream_id, 'a', null), (null, 'b', event.stream_id), (null, 'c', null);",
    );
    site.daemon.signal("HUP");
    project.until_state("tags", "live").await;
    assert_eq!(post(&site, &stream(STREAM), &commit("none", &order())).await.status, 201);
    for projection in ["orders", "tags"] {
        get(&site, &format!("/api/v1/projections/{projection}/wait?stream={STREAM}&version=1")).await;
    }
    let found = get(&site, &format!("{}/rows", stream(STREAM))).await;
    let rows = found["rows"].as_array().unwrap();
    let told: Vec<String> =
        rows.iter().map(|it| format!("{}.{} {}", it["projection"], it["table"], it["row"]["tag"])).collect();
    assert_eq!(
        told,
        [r#""orders"."orders" null"#, r#""tags"."tags" "a""#, r#""tags"."tags" "b""#],
        "{found}"
    );
    let told = site.get(&format!("{}/rows", stream(STREAM))).await.body;
    assert!(told.contains(r#""total": 12.50"#), "a number stays as it is: {told}");
    assert_eq!(found["not_searched"], json!([]));
    assert_eq!(get(&site, &format!("{}/rows", stream(OTHER))).await["rows"], json!([]));
}
