//! Answers that go on.

use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{OTHER, STREAM, commit, order, orders, post, sent, stream};
use crate::support::{Site, trial, until};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("http_api::events_arrive_as_they_are_appended", arrive),
        trial("http_api::a_stream_that_was_broken_goes_on_where_it_was", resume),
        trial("http_api::live_answers_that_nobody_reads_keep_no_connection_and_end_with_the_daemon", bounded),
        trial("http_api::the_status_comes_at_once_and_each_second", status),
    ]
}

/// An answer that goes on, as far as it has come.
struct Followed {
    stream: TcpStream,
    text: String,
}

impl Followed {
    async fn begin(site: &Site, path: &str, header: &str) -> Self {
        let mut stream = site.connect().await;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{header}\r\n", site.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut followed = Self { stream, text: String::new() };
        followed.until("\r\n\r\n", 1).await;
        assert!(followed.text.starts_with("HTTP/1.1 200"), "{}", followed.text);
        assert!(
            followed.text.to_lowercase().contains("content-type: text/event-stream"),
            "{}",
            followed.text
        );
        followed
    }

    async fn until(&mut self, what: &str, times: usize) {
        while self.text.matches(what).count() < times {
            self.read_on(what).await;
        }
    }

    async fn read_on(&mut self, what: &str) {
        let mut bytes = [0; 4096];
        let read = timeout(Duration::from_secs(30), self.stream.read(&mut bytes)).await;
        let read = read.unwrap_or_else(|_| panic!("no {what:?} comes in {}", self.text)).unwrap();
        assert!(read > 0, "it has ended: {}", self.text);
        self.text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }

    /// The data of those of a name, and the identifiers, once there are so many.
    async fn events(&mut self, name: &str, count: usize) -> (Vec<Value>, Vec<String>) {
        self.until(&format!("event: {name}"), count).await;
        while self.text.matches("\n\n").count() < self.text.matches("event: ").count() {
            self.read_on("end of an event").await;
        }
        let of = |key: &str| {
            let lines = self.text.lines().filter_map(|line| line.strip_prefix(key));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let data = of("data: ").iter().map(|it| serde_json::from_str(it).unwrap()).collect();
        (data, of("id: "))
    }
}

async fn arrive() {
    let (_project, site) = orders().await;
    post(&site, &stream(STREAM), &commit("none", &order())).await;
    let mut all = Followed::begin(&site, "/api/v1/events/live?after=0", "").await;
    assert_eq!(all.events("event", 1).await.1, ["1"]);
    let mut new = Followed::begin(&site, "/api/v1/events/live", "").await;
    let mut some = Followed::begin(&site, "/api/v1/events/live?after=0&type=Status*", "").await;
    let mut one = Followed::begin(&site, &format!("/api/v1/events/live?after=0&stream={OTHER}"), "").await;
    // Its first look decides what is new; the second event comes after it.
    until("all have looked", Duration::from_secs(10), async || {
        post(&site, &stream(OTHER), &commit("any", &order())).await;
        timeout(Duration::from_millis(200), new.until("event: event", 1)).await.is_ok()
    })
    .await;
    post(&site, &stream(STREAM), &commit(1, &sent())).await;
    new.until("StatusChanged", 1).await;
    let (data, ids) = new.events("event", 1).await;
    assert_eq!(data.last().unwrap()["type"], "StatusChanged");
    assert_eq!(data.last().unwrap()["position"].to_string(), *ids.last().unwrap());
    let (data, _) = some.events("event", 1).await;
    assert_eq!((data.len(), &data[0]["type"]), (1, &Value::from("StatusChanged")));
    assert_eq!(one.events("event", 1).await.0[0]["stream_id"], OTHER);
    let (data, ids) = all.events("event", 3).await;
    assert_eq!(ids, (1..=data.len()).map(|it| it.to_string()).collect::<Vec<_>>(), "each once, in order");
}

async fn resume() {
    let (_project, site) = orders().await;
    post(&site, &stream(STREAM), &commit("none", &order())).await;
    post(&site, &stream(STREAM), &commit(1, &sent())).await;
    let mut followed = Followed::begin(&site, "/api/v1/events/live?after=0", "").await;
    assert_eq!(followed.events("event", 2).await.1, ["1", "2"]);
    drop(followed);
    post(&site, &stream(STREAM), &commit(2, &sent())).await;
    // What was received last comes before what was asked for at first.
    let mut followed = Followed::begin(&site, "/api/v1/events/live?after=0", "Last-Event-ID: 2\r\n").await;
    assert_eq!(followed.events("event", 1).await.1, ["3"]);
    post(&site, &stream(STREAM), &commit(3, &sent())).await;
    assert_eq!(followed.events("event", 2).await.1, ["3", "4"]);
}

async fn bounded() {
    let (project, site) = orders().await;
    post(&site, &stream(STREAM), &commit("none", &order())).await;
    let sessions = "select count(*) from pg_stat_activity where datname = current_database()
                       and application_name = 'projectord'";
    let before: u32 = project.value(sessions).await.parse().unwrap();
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(Followed::begin(&site, "/api/v1/events/live?after=0", "").await);
    }
    let refused = site.get("/api/v1/events/live").await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    for followed in &mut open {
        followed.events("event", 1).await;
    }
    let now: u32 = project.value(sessions).await.parse().unwrap();
    assert!(now <= before + 3, "{now} sessions, {before} before");
    until("others are answered", Duration::from_secs(10), async || {
        site.get("/api/v1/status").await.status == 200
    })
    .await;
    drop(open.split_off(1));
    until("there is room again", Duration::from_secs(10), async || {
        let head = format!(
            "HEAD /api/v1/events/live HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            site.address
        );
        site.raw(head.as_bytes()).await.status == 200
    })
    .await;
    let Site { daemon, .. } = site;
    assert_eq!(daemon.stop(Duration::from_secs(10)).await, Some(0));
    let mut rest = String::new();
    let ended = timeout(Duration::from_secs(5), open[0].stream.read_to_string(&mut rest)).await;
    assert!(ended.is_ok(), "it ends with the daemon");
}

async fn status() {
    let (_project, site) = orders().await;
    let mut followed = Followed::begin(&site, "/api/v1/status/live", "").await;
    // The first may be a second old.
    let (data, _) = followed.events("status", 3).await;
    assert_eq!(data[2]["projections"][0]["name"], "orders");
    assert_eq!(data[2]["log"]["head"], 0);
    post(&site, &stream(STREAM), &commit("none", &order())).await;
    until("the head moves", Duration::from_secs(10), async || {
        let so_far = followed.text.matches("event: status").count();
        let (data, _) = followed.events("status", so_far + 1).await;
        data.last().unwrap()["log"]["head"] == 1
    })
    .await;
}
