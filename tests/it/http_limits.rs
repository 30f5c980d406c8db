//! HTTP: slow, large and many, and what becomes of them.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Project, Site, answer, trial, until};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("http_limits::a_slow_head_a_slow_body_and_a_connection_at_rest_are_cut_off", slow_peers),
        trial("http_limits::a_body_may_be_as_large_as_is_configured", large_bodies),
        trial("http_limits::whoever_has_no_token_takes_no_room_of_bodies", bodies_without_token),
        trial("http_limits::files_that_cannot_be_read_hold_up_no_other_request", slow_files),
        trial("http_limits::a_head_that_is_too_large_is_refused", large_heads),
        trial(
            "http_limits::beyond_the_connections_there_is_room_for_it_is_said_and_probes_are_answered",
            too_many,
        ),
        trial("http_limits::requests_in_hand_are_answered_at_the_end", drained),
        trial("http_limits::too_many_open_files_pass_by", open_files),
        trial("http_limits::the_thread_of_http_gives_way_to_the_others", gives_way),
    ]
}

const JSON: &str = "Content-Type: application/json";

/// Sends a byte each second until the other end has had enough; what it said, and how long that took.
async fn trickle(site: &Site, begin: &str) -> (u16, Duration) {
    let begun = Instant::now();
    let mut stream = site.connect().await;
    stream.write_all(begin.as_bytes()).await.unwrap();
    let (mut reads, mut writes) = stream.into_split();
    let trickling = tokio::spawn(async move {
        while writes.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let mut said = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(60), reads.read_to_end(&mut said)).await.unwrap();
    trickling.abort();
    let said = String::from_utf8_lossy(&said).into_owned();
    (said.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), begun.elapsed())
}

async fn slow_peers() {
    let project = Project::new().await;
    let site = Site::start(&project, &[]).await;
    let body =
        format!("POST /api/v1/x HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nContent-Length: 999\r\n\r\n{{");
    let rest = async {
        let begun = Instant::now();
        let mut stream = site.connect().await;
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let answer = answer(&mut stream).await;
        (answer.status, begun.elapsed())
    };
    let (head, nothing, body, rest) = tokio::join!(
        trickle(&site, "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: "),
        async {
            let begun = Instant::now();
            let silent = answer(&mut site.connect().await).await;
            (silent.status, begun.elapsed())
        },
        trickle(&site, &body),
        rest
    );
    let within = |(_, time): (u16, Duration), least, most| {
        assert!((Duration::from_secs(least)..Duration::from_secs(most)).contains(&time), "{time:?}");
    };
    within(head, 9, 15);
    within(nothing, 9, 15);
    within(rest, 9, 15);
    within(body, 14, 22);
    assert_eq!((body.0, rest.0), (408, 200));
    assert!(matches!(head.0, 0 | 408), "{head:?}");
    assert_eq!(site.get("/livez").await.status, 200);
}

async fn large_bodies() {
    let project = Project::new().await;
    project.copy("projections/orders");
    let site = Site::start(&project, &[]).await;
    project.until_state("orders", "live").await;
    let large = format!("{}{{}}", " ".repeat(3 << 20));
    let answer = site.post("/api/v1/projections/orders/pause", &large).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

async fn bodies_without_token() {
    let project = Project::new().await;
    let site = Site::start(&project, &[("PROJECTORD_HTTP__TOKENS", "operate ada s3cret")]).await;
    let mut held = Vec::new();
    for (method, path, status) in [("GET", "/livez", 200), ("POST", "/livez", 401), ("POST", "/", 401)] {
        for _ in 0..5 {
            let mut stream = site.connect().await;
            let length = 20 << 20;
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nContent-Length: {length}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut first = [0; 12];
            let answered = tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut first)).await;
            answered.unwrap_or_else(|_| panic!("{method} {path} waits for a body")).unwrap();
            assert_eq!(first, *format!("HTTP/1.1 {status}").as_bytes());
            held.push(stream);
        }
    }
    // What was not read of a request is not taken for the next one.
    let mut stream = held.remove(0);
    let next = "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2);
    let _ = stream.write_all(next.as_bytes()).await;
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&rest).matches("HTTP/1.1").count(), 0);
}

/// A file whose bytes do not come, as on a disk that is away.
async fn slow_files() {
    let project = Project::new().await;
    project.copy("projections/orders");
    let site = Site::start(&project, &[]).await;
    project.until_state("orders", "live").await;
    let file = project.projections().join("orders/Late.sql");
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    let plan = site.get("/api/v1/projections/orders/plan");
    let others = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let asked = tokio::time::timeout(Duration::from_secs(5), site.get("/livez")).await;
            assert_eq!(asked.expect("it answers").status, 200);
        }
        let text = "select 1;";
        tokio::task::spawn_blocking(move || std::fs::write(file, text)).await.unwrap().unwrap();
    };
    let (answer, ()) = tokio::join!(plan, others);
    assert_ne!(answer.status, 0, "{answer:?}");
}

async fn large_heads() {
    let project = Project::new().await;
    let site = Site::start(&project, &[]).await;
    let many: String = (0..65).map(|n| format!("X-{n}: 1\n")).collect();
    assert_eq!(site.ask("GET", "/livez", &many, "").await.status, 431);
    let large = format!("X: {}", "a".repeat(40 << 10));
    assert_eq!(site.ask("GET", "/livez", &large, "").await.status, 431);
    let long = format!("/{}", "a".repeat(70_000));
    assert!(matches!(site.get(&long).await.status, 414 | 431));
    let fits: String = (0..50).map(|n| format!("X-{n}: {}\n", "a".repeat(200))).collect();
    assert_eq!(site.ask("GET", "/livez", &fits, "").await.status, 200);
}

async fn too_many() {
    let project = Project::new().await;
    let site = Site::start(&project, &[("PROJECTORD_HTTP__MAX_CONNECTIONS", "4")]).await;
    until("it is at rest", Duration::from_secs(5), async || {
        site.get("/metrics").await.body.contains("projectord_http_connections 1\n")
    })
    .await;
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..4 {
        let mut stream = site.connect().await;
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: ").await.unwrap();
        held.push(stream);
    }
    let full = async || site.get("/metrics").await.status == 503;
    until("it is full", Duration::from_secs(5), full).await;
    let answer = site.get("/metrics").await;
    assert!(answer.problem().contains("max_connections"), "{answer:?}");
    assert!(
        answer.header("retry-after").is_some() && answer.header("connection") == Some("close"),
        "{answer:?}"
    );
    assert_eq!(site.get("/livez").await.status, 200);
    assert!(matches!(site.get("/readyz").await.status, 200 | 503));
    drop(held);
    until("there is room", Duration::from_secs(5), async || site.get("/metrics").await.status == 200).await;
    let metrics = site.get("/metrics").await.body;
    assert!(metrics.contains("projectord_http_connections_refused_total "), "{metrics}");
    // More than it takes on at all: they wait, are cut off, and it goes on.
    let mut flood = Vec::new();
    for _ in 0..100 {
        flood.push(site.connect().await);
    }
    until("it answers through a flood", Duration::from_secs(60), async || {
        let asked = tokio::time::timeout(Duration::from_secs(15), site.get("/livez")).await;
        asked.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    drop(flood);
    until("there is room again", Duration::from_secs(30), async || site.get("/metrics").await.status == 200)
        .await;
}

async fn drained() {
    for is_away in [false, true] {
        let mut project = Project::new().await;
        if is_away {
            project.postgres_url = "postgres://127.0.0.1:1/d".into();
        }
        let site = Site::start(&project, &[]).await;
        until("it has come up", Duration::from_secs(30), async || {
            let page = site.get("/metrics").await.body;
            page.contains(&format!("projectord_database_up {}\n", u8::from(!is_away)))
        })
        .await;
        let mut resting = site.connect().await;
        resting.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        resting.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        let mut slow = site.connect().await;
        let head =
            format!("POST /api/v1/x HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nContent-Length: 2\r\n\r\n{{");
        slow.write_all(head.as_bytes()).await.unwrap();
        until("both are taken", Duration::from_secs(5), async || {
            site.get("/metrics").await.body.contains("projectord_http_connections 3\n")
        })
        .await;
        let Site { daemon, address } = site;
        daemon.signal("TERM");
        let refused = async || TcpStream::connect(&address).await.is_err();
        until("no more are taken", Duration::from_secs(5), refused).await;
        slow.write_all(b"}").await.unwrap();
        assert_eq!(answer(&mut slow).await.status, 404, "a request in hand is answered");
        assert_eq!(daemon.ended(Duration::from_secs(5)).await, Some(0));
    }
}

async fn open_files() {
    let project = Project::new().await;
    let site = Site::start(&project, &[]).await;
    let limit = |files: &str| {
        let pid = site.daemon.pid().to_string();
        let done = std::process::Command::new("prlimit").args(["--pid", &pid, files]).status();
        assert!(done.unwrap().success());
    };
    // Whatever is open stays open, and nothing more can be opened, whatever is closed meanwhile.
    limit("--nofile=3:4096");
    let mut waiting = site.connect().await;
    waiting.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    until("it is said", Duration::from_secs(20), async || {
        project.log().contains("cannot take an HTTP connection")
    })
    .await;
    limit("--nofile=1024:4096");
    assert_eq!(answer(&mut waiting).await.status, 200);
    assert!(project.log().matches("cannot take an HTTP connection").count() < 5);
}

async fn gives_way() {
    let project = Project::new().await;
    let site = Site::start(&project, &[]).await;
    let tasks = std::fs::read_dir(format!("/proc/{}/task", site.daemon.pid())).unwrap();
    let nice = |task: std::path::PathBuf| {
        let stat = std::fs::read_to_string(task.join("stat")).unwrap();
        // After the name, which may hold anything, come the third field and the others; the nineteenth is it.
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().parse::<i32>().unwrap()
    };
    let (mut http, mut others) = (Vec::new(), Vec::new());
    for task in tasks.map(|task| task.unwrap().path()) {
        let name = std::fs::read_to_string(task.join("comm")).unwrap();
        if name.trim() == "http" { &mut http } else { &mut others }.push(nice(task));
    }
    assert!(!others.is_empty() && others.iter().all(|nice| *nice == others[0]), "{others:?}");
    assert_eq!(http, [(others[0] + 5).min(19)]);
}
