//! Operations in any order, on the real thing and on a model of a few lines: they must agree. What fails is
//! made smaller until the shortest sequence is left.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::Trial;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use uuid::Uuid;

use projectord::event::{Commit, CommitId, Event, NewEvent, StreamId, Version};
use projectord::lease::{Identity, Lease, keep};
use projectord::log::Log;
use projectord::projection::load;
use projectord::projector::rebuild_in_place;
use projectord::store::{
    AppendError, EventStore, ExpectedVersion, LoadError, MemoryStore, PostgresStore, RethinkStore, Settings,
};

use crate::support::{Project, new_rethink_database, rethink_trial, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("model::append_and_load_in_memory", || {
            append_and_load(Box::new(MemoryStore::new(settings())), 300)
        }),
        trial("model::append_and_load_on_postgresql", on_postgresql),
        rethink_trial("model::append_and_load_on_rethinkdb", on_rethinkdb),
        trial("model::ingest_keeps_streams_dense_whatever_comes_in_whatever_order", ingest_order),
        trial("model::checkpoint_owner_parking_and_audit_agree_whatever_happens", checkpoint),
    ]
}

fn settings() -> Settings {
    Settings::default()
}

/// Runs cases; each may wait.
fn check<S: Strategy>(cases: u32, strategy: &S, case: impl AsyncFn(S::Value)) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let run = TestRunner::new(config).run(strategy, |value| {
        block_in_place(|| Handle::current().block_on(case(value)));
        Ok(())
    });
    run.unwrap();
}

#[derive(Debug, Clone)]
enum StoreOp {
    /// To one of three streams, expecting it where it is plus so much; nothing expected where none.
    Append {
        stream: usize,
        off_by: Option<i64>,
        events: usize,
    },
    /// One of the commits of before, at its place.
    Again(Index),
    Load {
        stream: usize,
        from: u64,
    },
}

fn store_op() -> impl Strategy<Value = StoreOp> {
    let off_by = prop_oneof![3 => Just(Some(0)), 1 => Just(Some(-1)), 1 => Just(Some(1)), 2 => Just(None)];
    prop_oneof![
        4 => (0..3_usize, off_by, 1..4_usize)
            .prop_map(|(stream, off_by, events)| StoreOp::Append { stream, off_by, events }),
        1 => any::<Index>().prop_map(StoreOp::Again),
        2 => (0..3_usize, 1..8_u64).prop_map(|(stream, from)| StoreOp::Load { stream, from }),
    ]
}

async fn on_postgresql() {
    let project = Project::new().await;
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), settings());
    store.setup().await.unwrap();
    append_and_load(Box::new(store), 60).await;
}

async fn on_rethinkdb() {
    let store = RethinkStore::new(new_rethink_database().parse().unwrap(), settings());
    store.setup().await.unwrap();
    append_and_load(Box::new(store), 40).await;
}

async fn append_and_load(store: Box<dyn EventStore>, cases: u32) {
    check(cases, &vec(store_op(), 1..25), async |ops| {
        let streams: Vec<StreamId> = (0..3).map(|_| StreamId::random()).collect();
        let mut model: Vec<Vec<String>> = vec![Vec::new(); 3];
        let mut done: Vec<(usize, u64, Commit)> = Vec::new();
        for op in ops {
            match op {
                StoreOp::Append { stream, off_by, events } => {
                    let version = model[stream].len() as u64;
                    let expected = off_by.map(|off_by| version.saturating_add_signed(off_by));
                    let names: Vec<String> = (0..events).map(|_| Uuid::new_v4().to_string()).collect();
                    let new = names.iter().map(|name| NewEvent::from_json("Named", json!(name))).collect();
                    let commit = Commit::new("model", new);
                    let appended =
                        store.append_to_stream(streams[stream], expecting(expected), commit.clone()).await;
                    if expected.is_none_or(|expected| expected == version) {
                        assert_eq!(appended.unwrap().version.0, version + events as u64);
                        model[stream].extend(names);
                        // With `Any`, a commit id is remembered by the call alone.
                        done.extend(expected.map(|at| (stream, at, commit)));
                    } else {
                        let Err(AppendError::Conflict { actual, .. }) = appended else {
                            panic!("{appended:?} at {version}, expecting {expected:?}");
                        };
                        assert_eq!(actual.0, version);
                    }
                }
                StoreOp::Again(index) => {
                    if done.is_empty() {
                        continue;
                    }
                    let (stream, at, commit) = &done[index.index(done.len())];
                    let events = commit.events.len() as u64;
                    let again =
                        store.append_to_stream(streams[*stream], expecting(Some(*at)), commit.clone()).await;
                    assert_eq!(again.unwrap().version.0, at + events, "the first result");
                }
                StoreOp::Load { stream, from } => {
                    let loaded = store.load_stream(streams[stream], Version(from)).await;
                    if model[stream].is_empty() {
                        assert!(matches!(loaded, Err(LoadError::NotFound { .. })), "{loaded:?}");
                        continue;
                    }
                    let loaded = loaded.unwrap();
                    assert_eq!(loaded.version.0, model[stream].len() as u64);
                    let names: Vec<_> = loaded.events.iter().map(|it| it.data.as_str().unwrap()).collect();
                    let skip = usize::try_from(from - 1).unwrap();
                    assert_eq!(names, model[stream].iter().skip(skip).collect::<Vec<_>>());
                }
            }
        }
    });
}

fn expecting(version: Option<u64>) -> ExpectedVersion {
    match version {
        None => ExpectedVersion::Any,
        Some(0) => ExpectedVersion::NoStream,
        Some(version) => ExpectedVersion::Exact(Version(version)),
    }
}

/// Streams of commits of up to three events, handed over in pieces of which any may come twice, late, or in
/// any order; at the end once more, in order. Dense at each moment, and all of it at the end.
async fn ingest_order() {
    let sizes = vec(vec(1..4_usize, 1..6), 1..4);
    check(25, &(sizes, vec(vec(any::<Index>(), 1..6), 0..12)), async |(sizes, batches)| {
        let project = Project::new().await;
        project.ok(&["setup"]);
        let log = Log::new(project.pool.clone());
        let store = Uuid::new_v4();
        let commits: Vec<Vec<Event>> = sizes.iter().flat_map(|sizes| stream_of(sizes)).collect();
        for batch in batches {
            let picked: Vec<Event> =
                batch.iter().flat_map(|index| commits[index.index(commits.len())].clone()).collect();
            let mut seen = BTreeSet::new();
            let once: Vec<Event> =
                picked.into_iter().filter(|it| seen.insert((it.stream_id.0, it.version.0))).collect();
            log.add(store, &once).await.unwrap();
            assert_dense(&project).await;
        }
        log.add(store, &commits.concat()).await.unwrap();
        assert_dense(&project).await;
        let total: usize = commits.iter().map(Vec::len).sum();
        assert_eq!(project.value("select count(*) from projectord.events").await, total.to_string());
    });
}

fn stream_of(sizes: &[usize]) -> Vec<Vec<Event>> {
    let stream = StreamId::random();
    let mut version = 0;
    let commit = |&size: &usize| {
        let commit_id = CommitId(Uuid::new_v4());
        let events = (0..size).map(|_| {
            version += 1;
            Event {
                stream_id: stream,
                stream_type: "model".into(),
                version: Version(version),
                event_type: "Named".into(),
                data: json!(version),
                metadata: json!({}),
                commit_id,
                recorded_at: chrono::Utc::now(),
            }
        });
        events.collect()
    };
    sizes.iter().map(commit).collect()
}

async fn assert_dense(project: &Project) {
    assert_eq!(project.value("select problems from projectord.audit_log()").await, "{}");
}

#[derive(Debug, Clone)]
enum LogOp {
    /// An event of one of three streams; whether its handler accepts it.
    Append { stream: usize, good: bool },
    /// The lease goes to this owner, in the next epoch; it knows of it, and claims.
    Claim { owner: usize },
    /// A batch by this owner, who may not be the owner any more. One that fails parks its first event.
    Apply { owner: usize, limit: i64 },
    /// From now on handlers accept everything, or not.
    Repair(bool),
    /// The first parked event of a stream is tried again by this owner.
    Retry { owner: usize, stream: usize },
}

fn log_op() -> impl Strategy<Value = LogOp> {
    prop_oneof![
        6 => (0..3_usize, prop::bool::weighted(0.8)).prop_map(|(stream, good)| LogOp::Append { stream, good }),
        2 => (0..2_usize).prop_map(|owner| LogOp::Claim { owner }),
        6 => (0..2_usize, 1..4_i64).prop_map(|(owner, limit)| LogOp::Apply { owner, limit }),
        1 => any::<bool>().prop_map(LogOp::Repair),
        3 => (0..2_usize, 0..3_usize).prop_map(|(owner, stream)| LogOp::Retry { owner, stream }),
    ]
}

/// What a projection must be like.
#[derive(Debug, Default)]
struct Model {
    log: Vec<(usize, bool)>,
    owner: usize,
    checkpoint: usize,
    repaired: bool,
    /// Positions, in the order in which they were applied.
    applied: Vec<i64>,
    parked: BTreeMap<i64, usize>,
}

impl Model {
    fn accepts(&self, position: i64) -> bool {
        self.repaired || self.log[usize::try_from(position).unwrap() - 1].1
    }

    /// Applies up to `limit` events; at the first that fails nothing of it stays.
    fn apply(&mut self, limit: i64) -> bool {
        let end = self.log.len().min(self.checkpoint + usize::try_from(limit).unwrap());
        let mut applied = Vec::new();
        let mut parked = self.parked.clone();
        for place in self.checkpoint..end {
            let (position, stream) = (i64::try_from(place).unwrap() + 1, self.log[place].0);
            if parked.values().any(|other| *other == stream) {
                parked.insert(position, stream);
            } else if self.accepts(position) {
                applied.push(position);
            } else {
                return false;
            }
        }
        self.applied.extend(applied);
        self.parked = parked;
        self.checkpoint = end;
        true
    }
}

async fn checkpoint() {
    check(25, &vec(log_op(), 1..40), async |ops| {
        let project = Project::new().await;
        project.ok(&["setup"]);
        project.write(
            "seen",
            "schema.sql",
            "create table rows (nth bigint generated always as identity, position bigint);
             create table rules (all_is_good boolean); insert into rules values (false);",
        );
        project.write(
            "seen",
            "Tried.sql",
            "if not (event.data->>'good')::boolean and not (select all_is_good from rules) then
                 raise exception 'bad';
             end if;
             insert into rows (position) values (event.position);",
        );
        let pool = &project.pool;
        sqlx::query("insert into projectord.projections (name) values ('seen')").execute(pool).await.unwrap();
        let owners = [Uuid::new_v4(), Uuid::new_v4()];
        let mut leases = [0, 1].map(|nth: usize| Lease { owner: owners[nth], epoch: 0 });
        let first = Identity { id: owners[0], host: "model".into(), pid: 1 };
        leases[0] = keep(pool, &first, &["seen".to_owned()]).await.unwrap()[0].lease;
        let projection = load(&project.projections().join("seen")).unwrap();
        rebuild_in_place(pool, &projection, leases[0], 0).await.unwrap();
        let streams: Vec<StreamId> = (0..3).map(|_| StreamId::random()).collect();
        let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), settings());
        let mut model = Model::default();
        let mut epoch = leases[0].epoch;
        for op in ops {
            let at = i64::try_from(model.checkpoint).unwrap();
            match op {
                LogOp::Append { stream, good } => {
                    let commit =
                        Commit::new("s", vec![NewEvent::from_json("Tried", json!({ "good": good }))]);
                    store.append_to_stream(streams[stream], ExpectedVersion::Any, commit).await.unwrap();
                    model.log.push((stream, good));
                }
                LogOp::Claim { owner } => {
                    epoch += 1;
                    leases[owner].epoch = epoch;
                    let claimed: (i64,) = sqlx::query_as("select projectord.claim('seen', 1, $1, $2)")
                        .bind(owners[owner])
                        .bind(epoch)
                        .fetch_one(pool)
                        .await
                        .unwrap();
                    assert_eq!(claimed.0, at);
                    model.owner = owner;
                }
                LogOp::Apply { owner, limit } => {
                    let outcome = apply(pool, at, limit, leases[owner]).await;
                    // Where there is nothing to do, nobody is refused.
                    if model.log.len() == model.checkpoint {
                        outcome.unwrap();
                    } else if owner != model.owner {
                        assert_eq!(outcome.unwrap_err(), "PJ001");
                    } else if model.apply(limit) {
                        outcome.unwrap();
                    } else {
                        assert_eq!(outcome.unwrap_err(), "P0001");
                        if !model.apply(1) {
                            park(pool, at, leases[owner]).await;
                            model.parked.insert(at + 1, model.log[model.checkpoint].0);
                            model.checkpoint += 1;
                        } else {
                            apply(pool, at, 1, leases[owner]).await.unwrap();
                        }
                    }
                }
                LogOp::Repair(repaired) => {
                    let rule = "update seen.rules set all_is_good = $1";
                    sqlx::query(rule).bind(repaired).execute(pool).await.unwrap();
                    model.repaired = repaired;
                }
                LogOp::Retry { owner, stream } => {
                    let first = model.parked.iter().find(|(_, it)| **it == stream).map(|(at, _)| *at);
                    let Some(position) = first else { continue };
                    let outcome = retry(pool, position, at, leases[owner]).await;
                    if owner != model.owner {
                        assert_eq!(outcome.unwrap_err(), "PJ001");
                    } else if model.accepts(position) {
                        outcome.unwrap();
                        model.parked.remove(&position);
                        model.applied.push(position);
                    } else {
                        assert_eq!(outcome.unwrap_err(), "P0001");
                    }
                }
            }
            assert_agrees(&project, &model).await;
        }
    });
}

async fn assert_agrees(project: &Project, model: &Model) {
    let list = |positions: &[i64]| positions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let rows = "select coalesce(string_agg(position::text, ' ' order by nth), '') from seen.rows";
    assert_eq!(project.value(rows).await, list(&model.applied));
    let parked =
        "select coalesce(string_agg(position::text, ' ' order by position), '') from projectord.parked";
    assert_eq!(project.value(parked).await, list(&model.parked.keys().copied().collect::<Vec<_>>()));
    let audit = "select checkpoint || ' ' || is_sealed || ' ' || (applied = expected) || ' '
                        || (applied_digest = expected_digest) from projectord.audit()";
    assert_eq!(project.value(audit).await, format!("{} true true true", model.checkpoint));
}

/// The SQLSTATE where it fails.
async fn apply(pool: &PgPool, after: i64, limit: i64, lease: Lease) -> Result<(), String> {
    sqlx::query("select projectord.apply('seen', 1, $1, $2, $3, $4)")
        .bind(after)
        .bind(limit)
        .bind(lease.owner)
        .bind(lease.epoch)
        .execute(pool)
        .await
        .map(drop)
        .map_err(|error| sqlstate(&error))
}

async fn park(pool: &PgPool, after: i64, lease: Lease) {
    sqlx::query("select projectord.park('seen', 1, $1, $2, $3, '{}')")
        .bind(after)
        .bind(lease.owner)
        .bind(lease.epoch)
        .execute(pool)
        .await
        .unwrap();
}

async fn retry(pool: &PgPool, position: i64, checkpoint: i64, lease: Lease) -> Result<(), String> {
    sqlx::query("select projectord.retry('seen', 1, $1, $2, $3, $4)")
        .bind(position)
        .bind(checkpoint)
        .bind(lease.owner)
        .bind(lease.epoch)
        .execute(pool)
        .await
        .map(drop)
        .map_err(|error| sqlstate(&error))
}

fn sqlstate(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default().into_owned()
}
