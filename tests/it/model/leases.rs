//! Leases: daemons that come, hang, die and are cut off, under a clock that is set forth and back. A lease has
//! one owner; who that is may be believed wrongly; and the checkpoint is moved by the one who claimed it last.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::lease::{Held, Identity, keep, leave, release};
use projectord::projection::load;
use projectord::projector::rebuild_in_place;
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};

use super::{apply, check, claim};
use crate::support::{Project, until};

const NAMES: [&str; 3] = ["a", "b", "ingest"];
const DAEMONS: usize = 3;

#[derive(Debug, Clone)]
enum Op {
    /// A heartbeat: of what it is able to do, one bit each.
    Keep {
        daemon: usize,
        able: u8,
    },
    /// Gives back what it believes to have.
    Release {
        daemon: usize,
    },
    Leave {
        daemon: usize,
    },
    /// Its leases expire, and it does not know.
    Hang {
        daemon: usize,
    },
    /// Its process is gone, and another is started in its place.
    Die {
        daemon: usize,
    },
    /// The database's clock is set by so many seconds.
    SetClock {
        by: i32,
    },
    /// Claims `a` as it believes to own it, and applies an event.
    Apply {
        daemon: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let daemon = 0..DAEMONS;
    let by = prop_oneof![Just(3600), Just(-3600), Just(-2)];
    prop_oneof![
        6 => (daemon.clone(), 0..8_u8).prop_map(|(daemon, able)| Op::Keep { daemon, able }),
        1 => daemon.clone().prop_map(|daemon| Op::Release { daemon }),
        1 => daemon.clone().prop_map(|daemon| Op::Leave { daemon }),
        2 => daemon.clone().prop_map(|daemon| Op::Hang { daemon }),
        1 => daemon.clone().prop_map(|daemon| Op::Die { daemon }),
        1 => by.prop_map(|by| Op::SetClock { by }),
        5 => daemon.prop_map(|daemon| Op::Apply { daemon }),
    ]
}

/// A daemon: who it is, the session that tells that it lives, and what it believes.
struct Daemon {
    who: Identity,
    session: PgConnection,
    held: Vec<Held>,
}

impl Daemon {
    async fn start(project: &Project) -> Self {
        let who = Identity { id: Uuid::new_v4(), host: "model".into(), pid: 1 };
        let mut session = PgConnection::connect(&project.postgres_url).await.unwrap();
        let alive = "select pg_advisory_lock(hashtextextended($1::text, 0))";
        sqlx::query(alive).bind(who.id).execute(&mut session).await.unwrap();
        Self { who, session, held: Vec::new() }
    }

    async fn keep(&mut self, pool: &PgPool, able: u8) {
        let able: Vec<String> =
            (0..NAMES.len()).filter(|nth| able & (1 << nth) != 0).map(|nth| NAMES[nth].to_owned()).collect();
        self.held = keep(pool, &self.who, &able).await.unwrap();
        assert!(self.held.iter().all(|it| able.contains(&it.name)), "{:?} of {able:?}", self.held);
    }
}

/// Each lease's owner and epoch.
async fn leases(pool: &PgPool) -> BTreeMap<String, (Option<Uuid>, i64)> {
    let rows: Vec<(String, Option<Uuid>, i64)> =
        sqlx::query_as("select name, owner, epoch from projectord.leases").fetch_all(pool).await.unwrap();
    rows.into_iter().map(|(name, owner, epoch)| (name, (owner, epoch))).collect()
}

async fn project_with_events(events: usize) -> Project {
    let project = Project::new().await;
    project.ok(&["setup"]);
    project.write("a", "schema.sql", "create table rows (position bigint);");
    project.write("a", "Counted.sql", "insert into rows values (event.position);");
    let projection = "insert into projectord.projections (name) values ('a')";
    sqlx::query(projection).execute(&project.pool).await.unwrap();
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    let counted = (0..events).map(|n| NewEvent::from_json("Counted", json!(n))).collect();
    let stream = StreamId::random();
    store.append_to_stream(stream, ExpectedVersion::NoStream, Commit::new("model", counted)).await.unwrap();
    project
}

pub(super) async fn one_owner() {
    check(40, &vec(op(), 1..40), async |ops| {
        let project = project_with_events(ops.len()).await;
        let pool = &project.pool;
        let mut daemons = Vec::new();
        for _ in 0..DAEMONS {
            daemons.push(Daemon::start(&project).await);
        }
        daemons[0].keep(pool, 0b111).await;
        let mut claimed = daemons[0].held[0].lease;
        let projection = load(&project.projections().join("a")).unwrap();
        rebuild_in_place(pool, &projection, claimed, 0, false).await.unwrap();
        let (mut before, mut checkpoint) = (leases(pool).await, 0);
        for op in ops {
            match op {
                Op::Keep { daemon, able } => daemons[daemon].keep(pool, able).await,
                Op::Release { daemon } => {
                    for held in std::mem::take(&mut daemons[daemon].held) {
                        release(pool, &held.name, held.lease).await.unwrap();
                    }
                }
                Op::Leave { daemon } => {
                    leave(pool, &daemons[daemon].who).await.unwrap();
                    daemons[daemon].held.clear();
                }
                Op::Hang { daemon } => {
                    let sql = "update projectord.leases set expires_at = '-infinity' where owner = $1";
                    sqlx::query(sql).bind(daemons[daemon].who.id).execute(pool).await.unwrap();
                }
                Op::Die { daemon } => {
                    let gone = std::mem::replace(&mut daemons[daemon], Daemon::start(&project).await);
                    gone.session.close().await.unwrap();
                    let sql =
                        "update projectord.daemons set seen_at = seen_at - interval '1 s' where id = $1";
                    sqlx::query(sql).bind(gone.who.id).execute(pool).await.unwrap();
                }
                Op::SetClock { by } => set_clock(pool, by).await,
                Op::Apply { daemon } => {
                    let Some(held) = daemons[daemon].held.iter().find(|it| it.name == "a") else { continue };
                    let newest = (held.lease.epoch, held.lease.owner) == (claimed.epoch, claimed.owner)
                        || held.lease.epoch > claimed.epoch;
                    let done = match claim(pool, "a", held.lease).await {
                        Ok(_) => apply(pool, "a", checkpoint, 1, held.lease).await,
                        Err(refused) => Err(refused),
                    };
                    if newest {
                        done.unwrap();
                        claimed = held.lease;
                        checkpoint += 1;
                    } else {
                        assert_eq!(done.unwrap_err(), "PJ001");
                    }
                }
            }
            let now = leases(pool).await;
            assert_one_owner(&before, &now, &daemons);
            before = now;
            assert_eq!(project.value("select count(*) from a.rows").await, checkpoint.to_string());
        }
        // All is well again: everything is owned, once, and no one has much more than another.
        // That a daemon has died is known when it was not seen for a moment.
        until("each has one", Duration::from_secs(10), async || {
            for daemon in &mut daemons {
                daemon.keep(pool, 0b111).await;
                for held in daemon.held.extract_if(.., |held| held.hand_over) {
                    release(pool, &held.name, held.lease).await.unwrap();
                }
            }
            daemons.iter().all(|daemon| daemon.held.len() == 1)
        })
        .await;
    });
}

/// Whoever owns a lease that another had, or had before, has it in an epoch of its own.
fn assert_one_owner(
    before: &BTreeMap<String, (Option<Uuid>, i64)>,
    now: &BTreeMap<String, (Option<Uuid>, i64)>,
    daemons: &[Daemon],
) {
    for (name, (owner, epoch)) in now {
        let (former, former_epoch) = before.get(name).copied().unwrap_or((None, 0));
        assert!(*epoch >= former_epoch, "{name}: from epoch {former_epoch} back to {epoch}");
        if owner.is_some() && *owner != former {
            assert!(*epoch > former_epoch, "{name}: {former:?} and {owner:?} in epoch {epoch}");
        }
        let same = daemons.iter().flat_map(|it| &it.held).filter(|it| it.name == *name);
        let mut epochs: Vec<i64> = same.map(|held| held.lease.epoch).collect();
        epochs.sort_unstable();
        let believers = epochs.len();
        epochs.dedup();
        assert_eq!(epochs.len(), believers, "two believe to have {name} in one epoch");
    }
}

/// As if the database's clock had been set by so many seconds: everything else is the other way.
async fn set_clock(pool: &PgPool, by: i32) {
    for sql in [
        "update projectord.daemons set seen_at = seen_at - make_interval(secs => $1)",
        "update projectord.leases set expires_at = expires_at - make_interval(secs => $1),
                free_since = free_since - make_interval(secs => $1)",
    ] {
        sqlx::query(sql).bind(f64::from(by)).execute(pool).await.unwrap();
    }
}
