//! Bugs that the fault lab must find: `SABOTAGE=no-compare` chooses one. Without the feature
//! `sabotage` there is nothing of this in the program.

/// One bug each; the name that chooses it is in [`CHOSEN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(all(feature = "daemon", feature = "sabotage")), allow(dead_code))]
pub(crate) enum Bug {
    /// The checkpoint is committed after the handlers, in a transaction of its own.
    CheckpointAfter,
    /// The checkpoint is committed before the handlers, in a transaction of its own.
    CheckpointBefore,
    /// A batch is applied wherever the checkpoint is, and whoever owns it.
    NoCompare,
    /// Only the epoch is compared, and a new owner goes on with the old one's.
    EpochAlone,
    /// Events are passed over, whoever wants them.
    WantedPassed,
    /// What the feed announces is taken before it is durable.
    FeedPayload,
    /// The row that says that the feed has dropped others is passed over.
    OverflowIgnored,
    /// After a feed was lost, nothing is read again.
    NoReread,
    /// An event whose handler fails is skipped.
    ErrorSkipped,
    /// Each try of an append is a commit of its own.
    NewCommitId,
    /// A stream's head moves before its commit.
    HeadFirst,
    /// Commits are split over transactions of the log.
    CommitSplit,
    /// The daemon says that it is ready, whatever it finds.
    AlwaysReady,
}

/// Whether the program has this bug.
#[inline]
pub(crate) fn has(bug: Bug) -> bool {
    #[cfg(feature = "sabotage")]
    return *CHOSEN == Some(bug);
    #[cfg(not(feature = "sabotage"))]
    {
        let _ = bug;
        false
    }
}

#[cfg(feature = "sabotage")]
static CHOSEN: std::sync::LazyLock<Option<Bug>> = std::sync::LazyLock::new(|| {
    let name = std::env::var("SABOTAGE").ok().filter(|name| !name.is_empty())?;
    Some(match name.as_str() {
        "checkpoint-after" => Bug::CheckpointAfter,
        "checkpoint-before" => Bug::CheckpointBefore,
        "no-compare" => Bug::NoCompare,
        "epoch-alone" => Bug::EpochAlone,
        "wanted-passed" => Bug::WantedPassed,
        "feed-payload" => Bug::FeedPayload,
        "overflow-ignored" => Bug::OverflowIgnored,
        "no-reread" => Bug::NoReread,
        "error-skipped" => Bug::ErrorSkipped,
        "new-commit-id" => Bug::NewCommitId,
        "head-first" => Bug::HeadFirst,
        "commit-split" => Bug::CommitSplit,
        "always-ready" => Bug::AlwaysReady,
        other => panic!("SABOTAGE={other}: there is no such bug"),
    })
});

/// Changes the database's functions, for those bugs that are there.
#[cfg(all(feature = "sabotage", feature = "daemon"))]
pub(crate) async fn spoil(pool: &sqlx::PgPool) -> Result<(), sqlx::Error> {
    // Several daemons may start at once.
    let locked = |sql: &str| format!("do $do$ begin perform pg_advisory_xact_lock(1); {sql} end $do$");
    let replace = |function: &str, text: &str, by: &str| {
        // A text that is not there would build no bug, and the lab would look for nothing; it may be that another
        // daemon was here before.
        format!(
            "if strpos(pg_get_functiondef('projectord.{function}'::regproc), $x${text}$x$) = 0
                and strpos(pg_get_functiondef('projectord.{function}'::regproc), $x${by}$x$) = 0 then
                 raise 'no such text in {function}';
             end if;
             execute replace(pg_get_functiondef('projectord.{function}'::regproc), $x${text}$x$, $x${by}$x$);"
        )
    };
    let fence =
        "and g.checkpoint = p_checkpoint\n           and g.owner = p_owner and g.epoch = p_epoch for update";
    let sql = match *CHOSEN {
        Some(Bug::NoCompare) => replace("fence", fence, "for update"),
        Some(Bug::EpochAlone) => {
            let epoch = replace("keep_leases", "epoch = l.epoch + 1", "epoch = l.epoch");
            let claim = replace("claim", " or found_row.epoch = p_epoch and found_row.owner <> p_owner", "");
            replace("fence", fence, "and g.epoch = p_epoch for update") + &epoch + &claim
        }
        Some(Bug::WantedPassed) => replace(
            "pass_over",
            "it.last > g.checkpoint and it.type like any(o.handles)",
            "it.last > g.checkpoint and false",
        ),
        Some(Bug::CheckpointAfter) => torn("", MOVE),
        Some(Bug::CheckpointBefore) => torn(MOVE, ""),
        _ => return Ok(()),
    };
    sqlx::query(sqlx::AssertSqlSafe(locked(&sql))).execute(pool).await.map(drop)
}

#[cfg(all(feature = "sabotage", feature = "daemon"))]
const MOVE: &str = "
    update projectord.generations g set checkpoint = new_checkpoint,
           seal = projectord.seal(g.generation, new_checkpoint, g.events, g.digest)
     where g.projection = p_projection and g.generation = p_generation;";

/// `apply` in two transactions, with a moment between them.
#[cfg(all(feature = "sabotage", feature = "daemon"))]
fn torn(first: &str, last: &str) -> String {
    let between = "commit; perform pg_sleep(0.02);";
    let handlers = "perform set_config('search_path', quote_ident(p_projection) || ', pg_temp', true);
         execute format('select %I.projectord_apply($1, $2, null, null, null, null)', p_projection)
            into done using p_after, new_checkpoint;
         update projectord.generations g set events = g.events + done[2],
                digest = (g.digest + done[3]) & 4611686018427387903,
                seal = projectord.seal(g.generation, g.checkpoint, g.events + done[2],
                                       (g.digest + done[3]) & 4611686018427387903)
          where g.projection = p_projection and g.generation = p_generation;";
    let steps = [
        first,
        if first.is_empty() { "" } else { between },
        handlers,
        if last.is_empty() { "" } else { between },
        last,
    ];
    format!(
        "create or replace procedure projectord.torn_apply(
            p_projection text, p_generation bigint, p_after bigint, p_limit bigint, p_owner uuid, p_epoch bigint,
            inout new_checkpoint bigint, inout head bigint
         ) language plpgsql as $$
         declare
             done bigint[];
         begin
             select position into strict head from projectord.log_head;
             new_checkpoint := least(p_after + p_limit, head);
             if new_checkpoint > p_after then
                 perform projectord.fence(p_projection, p_generation, p_after, p_owner, p_epoch);
                 {}
             end if;
         end $$;",
        steps.concat()
    )
}
