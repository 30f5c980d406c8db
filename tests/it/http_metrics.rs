//! HTTP: what is said of the daemon's health and work, with PostgreSQL there and away.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};
use serde_json::json;

use crate::support::{Project, Site, Way, text, trial, until};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("http_metrics::readyz_says_why_not_and_is_true_again_when_it_is", readiness),
        trial("http_metrics::livez_and_metrics_answer_while_postgresql_is_away", postgresql_away),
        trial("http_metrics::prometheus_accepts_them_and_each_is_documented", documented),
        trial("http_metrics::numbers_are_those_of_the_work_that_was_done", numbers),
        trial("http_metrics::history_has_a_sample_every_few_seconds", history),
    ]
}

/// Metrics by name and labels, as they stand in the text.
fn values(page: &str) -> BTreeMap<&str, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

async fn append(project: &Project, count: u64) {
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    for n in 0..count {
        let commit = Commit::new("counter", vec![NewEvent::from_json("Counted", json!({ "n": n }))]);
        store.append_to_stream(StreamId::random(), ExpectedVersion::NoStream, commit).await.unwrap();
    }
}

/// A projection that fails while `public.gate` is closed.
async fn gated() -> Project {
    let project = Project::new().await;
    sqlx::raw_sql("create table public.gate as select false as open").execute(&project.pool).await.unwrap();
    project.write("numbers", "schema.sql", "create table numbers (n int);");
    let handler = "insert into numbers select 1 / open::int from public.gate;";
    project.write("numbers", "Counted.sql", handler);
    project
}

async fn readiness() {
    let project = gated().await;
    let site = Site::start(&project, &[]).await;
    let ready = async || {
        let answer = site.get("/readyz").await;
        let found = answer.json();
        assert_eq!(answer.status == 200, found["ready"] == true, "{answer:?}");
        assert_eq!(found["ready"] == true, found["reasons"].as_array().unwrap().is_empty(), "{answer:?}");
        (answer.status == 200, found["reasons"].to_string())
    };
    until("it is ready", Duration::from_secs(30), async || ready().await.0).await;
    append(&project, 1).await;
    project.until_state("numbers", "halted").await;
    until("it is not ready", Duration::from_secs(30), async || !ready().await.0).await;
    let (_, reasons) = ready().await;
    assert!(reasons.contains("numbers is halted"), "{reasons}");
    assert_eq!(site.get("/livez").await.status, 200, "that is no reason to be started again");
    let page = site.get("/metrics").await.body;
    let found = values(&page);
    assert_eq!(found["projectord_ready"], 0.0);
    assert_eq!(found[r#"projectord_projection_state{projection="numbers",state="halted"}"#], 1.0);
    assert!(found[r#"projectord_projection_errors_total{projection="numbers",class="handler"}"#] >= 1.0);
    sqlx::query("update public.gate set open = true").execute(&project.pool).await.unwrap();
    project.ok(&["resume", "numbers"]);
    until("it is ready again", Duration::from_secs(30), async || ready().await.0).await;
}

async fn postgresql_away() {
    let mut project = Project::new().await;
    let mut way = Way::to(&project.postgres_url);
    project.postgres_url = project.postgres_url.replace(&way.server, &format!("127.0.0.1:{}", way.port));
    // From the start, and after it was there.
    let site = Site::start(&project, &[]).await;
    for round in 0..2 {
        let away = async || values(&site.get("/metrics").await.body)["projectord_database_up"] == 0.0;
        until("it is seen to be away", Duration::from_secs(30), away).await;
        let not_ready = async || site.get("/readyz").await.status == 503;
        until("it is not ready", Duration::from_secs(30), not_ready).await;
        let page = site.get("/metrics").await;
        assert_eq!(page.status, 200);
        let found = values(&page.body);
        assert_eq!((found["projectord_database_up"], found["projectord_ready"]), (0.0, 0.0));
        assert!(found["projectord_uptime_seconds"] > 0.0 && found["projectord_pulse_age_seconds"] < 20.0);
        assert!(!found.contains_key("projectord_log_head"));
        assert_eq!(site.get("/livez").await.status, 200);
        assert_eq!(site.get("/").await.status, 200);
        if round == 1 {
            break;
        }
        way.open().await;
        let up = async || values(&site.get("/metrics").await.body)["projectord_database_up"] == 1.0;
        until("it is back", Duration::from_secs(40), up).await;
        until("it is ready", Duration::from_secs(40), async || site.get("/readyz").await.status == 200).await;
        assert!(values(&site.get("/metrics").await.body).contains_key("projectord_log_head"));
        way.cut().await;
    }
}

/// Whether Prometheus would take the page, as far as rules of the format go that are easily broken.
fn check_format(page: &str) {
    assert!(page.ends_with('\n'));
    let (mut families, mut seen) = (BTreeMap::new(), BTreeSet::new());
    let (mut open, mut helped) = ("", "");
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.') && !help.contains('\\'), "{line}");
            helped = name;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, helped);
            assert!(families.insert(name, kind).is_none(), "{name} twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            open = name;
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            let stem = match families[open] {
                "histogram" => ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)),
                _ => Some(name),
            };
            assert_eq!(stem, Some(open), "{line}: not beside its family");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(seen.insert(sample), "{line}: twice");
            if let Some(labels) = sample.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                let inner = labels.strip_prefix('{').and_then(|it| it.strip_suffix('}')).unwrap();
                for label in inner.split(',') {
                    let (key, value) = label.split_once('=').unwrap();
                    assert!(key.bytes().all(|b| b.is_ascii_lowercase()), "{line}");
                    assert!(value.len() >= 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
                }
            }
        }
    }
}

/// What Prometheus' own tool says, where it is here.
fn promtool(page: &str) {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = started else { return };
    tool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

async fn documented() {
    let project = gated().await;
    let site = Site::start(&project, &[]).await;
    until("it is ready", Duration::from_secs(30), async || site.get("/readyz").await.status == 200).await;
    let answer = site.get("/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let page = answer.body;
    check_format(&page);
    promtool(&page);
    let said: BTreeMap<&str, &str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let document = std::fs::read_to_string(file).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `projectord_"));
    let mut written = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = format!("projectord_{}", cells[0].trim_end_matches('`'));
        assert!(cells[3].len() > 5, "{name} is not explained");
        let labels: BTreeSet<String> = cells[2]
            .split(',')
            .map(|label| label.trim().trim_matches('`').to_owned())
            .filter(|it| !it.is_empty())
            .collect();
        for sample in values(&page).into_keys().filter(|it| it.split('{').next() == Some(&name)) {
            let inner = sample.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
            let keys: BTreeSet<String> =
                inner.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned())).collect();
            assert_eq!(keys, labels, "{name}");
        }
        written.insert(name, cells[1].to_owned());
    }
    let said: BTreeMap<String, String> =
        said.into_iter().map(|(name, kind)| (name.into(), kind.into())).collect();
    assert_eq!(written, said, "docs/metrics.md and /metrics");
}

async fn numbers() {
    let project = gated().await;
    sqlx::query("update public.gate set open = true").execute(&project.pool).await.unwrap();
    append(&project, 30).await;
    let site = Site::start(&project, &[]).await;
    project.until_value("select count(*) from numbers.numbers", "30").await;
    project.until_state("numbers", "live").await;
    let at = |name: &str| format!("{name}{{projection=\"numbers\"}}");
    let owned = async || {
        let page = site.get("/metrics").await.body;
        values(&page).get(at("projectord_projection_position").as_str()) == Some(&30.0)
    };
    until("it is seen", Duration::from_secs(10), owned).await;
    let page = site.get("/metrics").await.body;
    let found = values(&page);
    let of = |name: &str| found[at(name).as_str()];
    assert_eq!((of("projectord_projection_lag_events"), of("projectord_projection_lag_seconds")), (0.0, 0.0));
    assert_eq!((of("projectord_projection_owned"), of("projectord_projection_generation")), (1.0, 1.0));
    assert_eq!(of("projectord_projection_events_total"), 30.0);
    let batches = of("projectord_projection_batches_total");
    assert!((1.0..=30.0).contains(&batches), "{batches}");
    assert_eq!(of("projectord_projection_apply_duration_seconds_count"), batches);
    assert!(of("projectord_projection_apply_duration_seconds_sum") > 0.0);
    let all = r#"projectord_projection_apply_duration_seconds_bucket{projection="numbers",le="+Inf"}"#;
    assert_eq!(found[all], batches);
    assert_eq!((found["projectord_log_head"], found["projectord_database_up"]), (30.0, 1.0));
    assert!(found[r#"projectord_http_responses_total{class="2xx"}"#] >= 1.0);
    let built = format!("projectord_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(found[built.as_str()], 1.0);
}

async fn history() {
    let project = gated().await;
    append(&project, 3).await;
    sqlx::query("update public.gate set open = true").execute(&project.pool).await.unwrap();
    let site = Site::start(&project, &[]).await;
    let kept = async || site.get("/api/v1/history").await.json();
    until("two samples", Duration::from_secs(40), async || {
        kept().await["projections"]["numbers"].as_array().is_some_and(|samples| samples.len() >= 2)
    })
    .await;
    let kept = kept().await;
    assert_eq!(kept["every_seconds"], 5);
    let last = |samples: &serde_json::Value| samples.as_array().unwrap().last().unwrap().clone();
    let (ingest, numbers) = (last(&kept["ingest"]), last(&kept["projections"]["numbers"]));
    assert_eq!((&ingest[1], &numbers[1]), (&json!(3), &json!(0)), "{kept}");
    let now = chrono::Utc::now().timestamp();
    assert!((now - 60..=now).contains(&ingest[0].as_i64().unwrap()), "{kept}");
}
