//! Traces by OTLP: a collector gets a span for each batch, and nothing of what events say.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use libtest_mimic::Trial;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Daemon, Project, rethink_trial, trial, until};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("traces::a_collector_gets_a_span_for_each_batch_and_no_events_data", batches),
        rethink_trial("traces::and_for_each_batch_of_ingest", ingest_batches),
        trial("traces::a_collector_that_is_away_is_said_once_and_stops_nothing", away),
    ]
}

const STREAM: &str = "6763e85f-f8d5-5bee-ad04-4ed1d6d49798";
const CANARY: &str = "canary-in-data";

/// The head of a request, and its body.
type Taken = (String, Vec<u8>);

/// What it was sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Taken>>>);

impl Collector {
    async fn start() -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let collector = Self::default();
        let taken = collector.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let taken = taken.clone();
                tokio::spawn(async move { taken.take(socket).await });
            }
        });
        (collector, port)
    }

    async fn take(&self, mut socket: TcpStream) {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
                let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
                if bytes.len() >= end + 4 + length.parse::<usize>().unwrap() {
                    self.0.lock().unwrap().push((head, bytes[end + 4..].to_vec()));
                    break;
                }
            }
            if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        let _ = socket.write_all(answer.as_bytes()).await;
    }

    /// Whether a body has this text in it: protobuf leaves text as it is.
    fn has(&self, text: &str) -> bool {
        let is_in = |body: &[u8]| body.windows(text.len()).any(|window| window == text.as_bytes());
        self.0.lock().unwrap().iter().any(|(_, body)| is_in(body))
    }

    async fn until_has(&self, text: &str) {
        until(&format!("a span with {text:?}"), Duration::from_secs(60), async || self.has(text)).await;
    }
}

/// The daemon, which answers at this address, and the collector's port.
fn start(project: &Project, port: u16, address: &str) -> Daemon {
    let log = std::fs::File::create(project.log_file()).unwrap();
    let mut run = project.command(&["run"]);
    run.env("PROJECTORD_HTTP__LISTEN", address);
    run.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"))
        .env("OTEL_BSP_SCHEDULE_DELAY", "200");
    Daemon::of(run.stdout(std::process::Stdio::null()).stderr(log).spawn().unwrap())
}

fn append(project: &Project) {
    let data = format!("{{\"user_id\": 7, \"total\": 1, \"note\": \"{CANARY}\"}}");
    project.ok(&["append", STREAM, "OrderCreated", &data, "--stream-type", "order"]);
}

/// The same by HTTP, to another stream.
async fn append_by_http(address: &str) {
    let body = format!(
        r#"{{"expected_version":"any","stream_type":"order","events":[{{"type":"Noted","data":{{"note":"{CANARY}"}}}}]}}"#
    );
    let stream = STREAM.replace("798", "799");
    let request = format!(
        "POST /api/v1/streams/{stream} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

async fn batches() {
    let project = Project::new().await;
    project.copy("projections/orders");
    let (collector, port) = Collector::start().await;
    let address = format!("127.0.0.1:{}", projectord::private_server::free_port().unwrap());
    let daemon = start(&project, port, &address);
    project.until_state("orders", "live").await;
    append(&project);
    append_by_http(&address).await;
    project.until_value("select count(*) from orders.orders", "1").await;
    for text in ["batch", "append", "projection", "orders", "service.name", "projectord"] {
        collector.until_has(text).await;
    }
    assert_eq!(daemon.stop(Duration::from_secs(5)).await, Some(0));
    assert!(!collector.has(CANARY));
    let (head, _) = collector.0.lock().unwrap()[0].clone();
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    // The log's lines are of the projection, as without traces.
    let log = project.log();
    assert!(log.contains("\"projection\":\"orders\"") && !log.contains("\"name\":\"batch\""), "{log}");
}

async fn ingest_batches() {
    let project = Project::on_rethinkdb().await;
    project.ok(&["setup"]);
    append(&project);
    let (collector, port) = Collector::start().await;
    let daemon = start(&project, port, "");
    project.until_value("select count(*) from projectord.events", "1").await;
    collector.until_has("ingest batch").await;
    assert_eq!(daemon.stop(Duration::from_secs(5)).await, Some(0));
    assert!(!collector.has(CANARY));
}

async fn away() {
    let project = Project::new().await;
    project.copy("projections/orders");
    let daemon = start(&project, projectord::private_server::free_port().unwrap(), "");
    project.until_state("orders", "live").await;
    append(&project);
    project.until_value("select count(*) from orders.orders", "1").await;
    let said = "traces are not taken";
    until(said, Duration::from_secs(30), async || project.log().contains(said)).await;
    for n in 2..12 {
        let data = format!("{{\"user_id\": {n}, \"total\": 1}}");
        project.ok(&[
            "append",
            &STREAM.replace("798", &format!("8{n:02}")),
            "OrderCreated",
            &data,
            "--stream-type",
            "order",
        ]);
    }
    project.until_value("select count(*) from orders.orders", "11").await;
    assert_eq!(daemon.stop(Duration::from_secs(10)).await, Some(0));
    assert_eq!(project.log().matches(said).count(), 1, "{}", project.log());
}
