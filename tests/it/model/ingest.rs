//! Ingest: commits in any order, with repetitions, into a log without holes.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;
use uuid::Uuid;

use projectord::event::{CommitId, Event, StreamId, Version};
use projectord::log::{Batch, Log};

use super::check;
use crate::support::Project;

/// Streams of commits of up to three events, handed over in pieces of which any may come twice, late, or in
/// any order; at the end once more, in order. Dense at each moment, and all of it at the end.
pub(super) async fn any_order() {
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
            log.session().await.unwrap().add(Batch::new(store, &once)).await.unwrap();
            assert_dense(&project).await;
        }
        log.session().await.unwrap().add(Batch::new(store, &commits.concat())).await.unwrap();
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
