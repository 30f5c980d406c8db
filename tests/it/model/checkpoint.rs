//! A projection: its checkpoint, who owns it, what is parked, and what the audit says of it.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::lease::{Identity, Lease, keep};
use projectord::projection::load;
use projectord::projector::rebuild_in_place;
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};

use super::{apply, check, claim, sqlstate};
use crate::support::Project;

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

pub(super) async fn agrees() {
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
        rebuild_in_place(pool, &projection, leases[0], 0, false).await.unwrap();
        let streams: Vec<StreamId> = (0..3).map(|_| StreamId::random()).collect();
        let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
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
                    assert_eq!(claim(pool, "seen", leases[owner]).await.unwrap(), at);
                    model.owner = owner;
                }
                LogOp::Apply { owner, limit } => {
                    let outcome = apply(pool, "seen", at, limit, leases[owner]).await;
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
                            apply(pool, "seen", at, 1, leases[owner]).await.unwrap();
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

async fn park(pool: &PgPool, after: i64, lease: Lease) {
    sqlx::query("select projectord.park('seen', 1, $1, $2, $3, null, '{}')")
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
