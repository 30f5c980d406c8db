//! HTTP: who is answered, and what is refused before anything is done.

use std::time::Duration;

use libtest_mimic::Trial;
use projectord::private_server::free_port;

use crate::support::{Project, Site, text, trial, until};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("http_access::what_is_not_there_is_a_problem_and_says_so", not_there),
        trial("http_access::only_names_of_this_daemon_are_answered", foreign_hosts),
        trial("http_access::pages_of_other_sites_change_nothing", other_sites),
        trial("http_access::a_token_gives_what_its_role_says", roles),
        trial("http_access::beyond_this_machine_there_must_be_a_token", beyond_this_machine),
        trial("http_access::an_address_that_cannot_be_had_is_said_at_the_start", no_address),
        trial("http_access::no_token_is_ever_printed", no_token_printed),
        trial("http_access::the_dashboard_loads_nothing_from_elsewhere", dashboard),
    ]
}

const STREAM: &str = "/api/v1/streams/6763e85f-f8d5-5bee-ad04-4ed1d6d49798";

async fn not_there() {
    let project = Project::new().await;
    let site = Site::start(&project, &[]).await;
    until("it is ready", Duration::from_secs(30), async || site.get("/readyz").await.status == 200).await;
    let long = format!("/api/v1/projections/{}", "a".repeat(10_000));
    let paths = [
        "/nothing",
        "/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/%00",
        "/api/v1/projections/%00/x/y",
        "//",
    ];
    for path in paths.into_iter().chain([long.as_str()]) {
        let answer = site.get(path).await;
        assert_eq!(answer.status, 404, "{path:.40}: {answer:?}");
        assert!(answer.problem().len() < 500, "a long name is not repeated");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    for (method, path) in [("POST", "/livez"), ("DELETE", "/readyz"), ("PUT", "/metrics"), ("OPTIONS", "/")] {
        let answer = site.ask(method, path, "Content-Type: application/json", "").await;
        assert_eq!(answer.status, 405, "{method} {path}: {answer:?}");
        assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{answer:?}");
        answer.problem();
    }
    // Whatever type its body has.
    for (path, status) in [("/livez", 405), ("/api/v1/events", 405), ("/api/v1/nothing", 404)] {
        let answer = site.ask("POST", path, "", "").await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        answer.problem();
    }
    for bytes in [&b"nonsense\r\n\r\n"[..], b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01"] {
        let answer = site.raw(bytes).await;
        assert!(answer.status == 400 || answer.status == 0, "{answer:?}");
    }
    assert_eq!(site.ask("HEAD", "/livez", "", "").await.body, "");
    assert_eq!(site.get("/livez").await.json()["live"], true);
}

async fn foreign_hosts() {
    let project = Project::new().await;
    let site = Site::start(&project, &[("PROJECTORD_HTTP__HOSTS", "[projections.example]")]).await;
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:9999", "[::1]:8410", "projections.example:443"] {
        assert_eq!(site.ask("GET", "/livez", &format!("Host: {host}"), "").await.status, 200, "{host}");
    }
    for host in
        ["evil.example", "localhost.evil.example", "evil.example:8410", "10.0.0.1", "x@evil.example", ""]
    {
        let answer = site.ask("GET", "/metrics", &format!("Host: {host}"), "").await;
        assert_eq!(answer.status, 421, "{host}: {answer:?}");
        assert!(answer.problem().contains("[http] hosts"), "{answer:?}");
    }
    // By a whole URL, by two names, by none.
    let raw = async |head: &str| site.raw(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.status;
    assert_eq!(raw("GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\n").await, 421);
    assert_eq!(raw("GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n").await, 400);
    assert_eq!(raw("GET /metrics HTTP/1.1\r\n").await, 400);
}

async fn other_sites() {
    let project = Project::new().await;
    let site = Site::start(&project, &[("PROJECTORD_HTTP__MAX_BODY_BYTES", "2048")]).await;
    let post = async |headers: &str, body: &str| site.ask("POST", "/api/v1/nothing", headers, body).await;
    let json = "Content-Type: application/json";
    // Nothing has this name: whoever is told so was let through.
    let own = site.address.clone();
    for headers in [
        json.to_owned(),
        "Content-Type: Application/JSON; charset=utf-8".into(),
        format!("{json}\nOrigin: http://{own}"),
        format!("{json}\nSec-Fetch-Site: same-origin\nOrigin: http://{own}"),
        format!("{json}\nSec-Fetch-Site: none"),
    ] {
        assert_eq!(post(&headers, "{}").await.status, 404, "{headers}");
    }
    for headers in [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: http://localhost:1",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Site: new-word",
    ] {
        let answer = post(&format!("{json}\n{headers}"), "{}").await;
        assert_eq!(answer.status, 403, "{headers}: {answer:?}");
        assert!(answer.problem().contains("page from elsewhere"), "{answer:?}");
    }
    for headers in ["", "Content-Type: text/plain", "Content-Type: application/x-www-form-urlencoded"] {
        let answer = site.ask("POST", "/api/v1/projections/nothing/pause", headers, "{}").await;
        assert_eq!(answer.status, 415, "{headers}: {answer:?}");
        assert!(answer.problem().contains("application/json"), "{answer:?}");
    }
    // A page elsewhere may link here.
    assert_eq!(site.ask("GET", "/livez", "Sec-Fetch-Site: cross-site", "").await.status, 200);
    // But not have us work, as a picture would whose address is that of a plan.
    for headers in ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: http://evil.example"]
    {
        for path in ["/api/v1/projections/orders/plan", "/api/v1/openapi.json"] {
            let answer = site.ask("GET", path, headers, "").await;
            assert_eq!(answer.status, 403, "{headers}: {answer:?}");
            assert!(answer.problem().contains("page from elsewhere"), "{answer:?}");
        }
    }
    for headers in ["", "Sec-Fetch-Site: none", "Sec-Fetch-Site: same-origin"] {
        assert_eq!(site.ask("GET", "/api/v1/openapi.json", headers, "").await.status, 200, "{headers}");
    }
    // Too much, as it is announced and as it comes.
    let large = "x".repeat(2049);
    assert!(post(json, &large).await.problem().contains("max_body_bytes"));
    assert_eq!(post(json, &large).await.status, 413);
    let chunked = format!("801\r\n{large}\r\n0\r\n\r\n");
    let head = format!(
        "POST {STREAM} HTTP/1.1\r\nHost: localhost\r\n{json}\r\nTransfer-Encoding: chunked\r\nConnection: close"
    );
    assert_eq!(site.raw(format!("{head}\r\n\r\n{chunked}").as_bytes()).await.status, 413);
    let announced = format!(
        "POST {STREAM} HTTP/1.1\r\nHost: localhost\r\n{json}\r\nContent-Length: 99999999999999999999\r\n\r\n"
    );
    assert_eq!(site.raw(announced.as_bytes()).await.status, 400);
}

async fn roles() {
    let project = Project::new().await;
    let file = project.folder.path().join("tokens");
    std::fs::write(&file, "# who\nread grafana look-only\nwrite shop shop-writes\n").unwrap();
    let more = [
        ("PROJECTORD_HTTP__TOKENS_FILE", file.to_str().unwrap()),
        ("PROJECTORD_HTTP__TOKENS", "operate ada ada-does-all"),
    ];
    let site = Site::start(&project, &more).await;
    for path in ["/livez", "/", "/app.js", "/style.css"] {
        assert_eq!(site.get(path).await.status, 200, "{path}");
    }
    assert_ne!(site.get("/readyz").await.status, 401);
    let status = async |method: &str, path: &str, token: &str| {
        let headers = format!("Content-Type: application/json\nAuthorization: Bearer {token}");
        site.ask(method, path, &headers, "{}").await.status
    };
    let refused = |status: u16| matches!(status, 401 | 403);
    for (token, reads, writes, operates) in [
        ("look-only", true, false, false),
        ("shop-writes", true, true, false),
        ("ada-does-all", true, true, true),
    ] {
        assert_eq!(!refused(status("GET", "/metrics", token).await), reads, "{token}");
        assert_eq!(!refused(status("POST", STREAM, token).await), writes, "{token}");
        assert_eq!(!refused(status("POST", "/api/v1/projections/o/pause", token).await), operates, "{token}");
    }
    assert_eq!(status("POST", STREAM, "look-only").await, 403);
    for token in ["", "look-onl", "look-onlyy", "LOOK-ONLY", "grafana", "read"] {
        for (method, path) in [("GET", "/metrics"), ("POST", STREAM), ("GET", "/nothing")] {
            assert_eq!(status(method, path, token).await, 401, "{token} {method} {path}");
        }
    }
    let answer = site.get("/metrics").await;
    assert_eq!((answer.status, answer.header("www-authenticate").is_some()), (401, true));
    assert!(answer.problem().contains("Authorization: Bearer"), "{answer:?}");
    let basic = site.ask("GET", "/metrics", "Authorization: Basic look-only", "").await;
    assert_eq!(basic.status, 401);
}

async fn beyond_this_machine() {
    let project = Project::new().await;
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let output = project.command(&["run"]).env("PROJECTORD_HTTP__LISTEN", listen).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("http.listen: ") && said.contains("tokens_file"), "{said}");
    }
    // With one, it may; and whoever comes to the address itself asks for a name that leads nowhere else.
    let port = free_port().unwrap();
    let listen = format!("0.0.0.0:{port}");
    let more = [("PROJECTORD_HTTP__LISTEN", listen.as_str()), ("PROJECTORD_HTTP__TOKENS", "read a b")];
    let site = Site::of(project.daemon_with(&more), format!("127.0.0.1:{port}")).await;
    assert_eq!(site.get("/livez").await.status, 200);
}

async fn no_address() {
    let project = Project::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (listen, said) in [
        (address.as_str(), "is taken"),
        ("192.0.2.1:8410", "http.listen: 192.0.2.1:8410: "),
        ("localhost", "http.listen: \"localhost\" is no address"),
        ("127.0.0.1:99999", "http.listen: \"127.0.0.1:99999\" is no address"),
    ] {
        let output = project.command(&["run"]).env("PROJECTORD_HTTP__LISTEN", listen).output().unwrap();
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{err}");
        assert!(err.contains(said), "{err}");
    }
    // A job has no use for one.
    let mut job = project.command(&["run", "--until-caught-up"]);
    assert!(job.env("PROJECTORD_HTTP__LISTEN", &address).output().unwrap().status.success());
}

async fn no_token_printed() {
    let project = Project::new().await;
    let file = project.folder.path().join("tokens");
    let name = file.to_str().unwrap();
    for (file_text, variable, said) in [
        ("read a hunter2", "read b", "http.tokens: line 1"),
        ("read a hunter2\nroot b hunter2", "", "http.tokens_file: "),
        ("read hunter2", "", "line 1"),
        ("# nobody yet\n\n", "", "tokens: it holds no token"),
        ("", "read a hunter2", "http.tokens_file: "),
    ] {
        std::fs::write(&file, file_text).unwrap();
        let mut command = project.command(&["run"]);
        command.env("PROJECTORD_HTTP__LISTEN", "127.0.0.1:0").env("PROJECTORD_HTTP__TOKENS_FILE", name);
        let output = command.env("PROJECTORD_HTTP__TOKENS", variable).output().unwrap();
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{err}");
        assert!(err.contains(said) && !err.contains("hunter2"), "{err}");
    }
    let missing = project
        .command(&["run"])
        .env("PROJECTORD_HTTP__LISTEN", "127.0.0.1:0")
        .env("PROJECTORD_HTTP__TOKENS_FILE", "/missing")
        .output();
    assert!(text(&missing.unwrap().stderr).contains("/missing: cannot read it"));
    let printed =
        project.command(&["config"]).env("PROJECTORD_HTTP__TOKENS", "read a hunter2").output().unwrap();
    assert!(text(&printed.stdout).contains("***") && !text(&printed.stdout).contains("hunter2"));
    let more = [("PROJECTORD_HTTP__TOKENS", "read a hunter2"), ("PROJECTORD_LOG__LEVEL", "trace")];
    let site = Site::start(&project, &more).await;
    let found = site.ask("GET", "/api/v1/history", "Authorization: Bearer hunter2", "").await;
    assert_eq!(found.status, 200, "{found:?}");
    assert_eq!(site.ask("GET", "/metrics", "Authorization: Bearer hunter22", "").await.status, 401);
    assert!(project.log().contains("answering over HTTP") && !project.log().contains("hunter2"));
}

async fn dashboard() {
    let project = Project::new().await;
    let site = Site::start(&project, &[]).await;
    for (path, kind) in [("/", "text/html"), ("/app.js", "text/javascript"), ("/style.css", "text/css")] {
        let answer = site.get(path).await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").is_some_and(|it| it.starts_with(kind)), "{answer:?}");
        let policy = answer.header("content-security-policy").unwrap_or_default();
        for part in
            ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let foreign = answer.body.replace("http://www.w3.org/", "");
        assert!(!foreign.contains("src=\"http") && !foreign.contains("url(http"), "{path}");
    }
}
