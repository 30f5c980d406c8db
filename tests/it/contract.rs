//! The contract of the event store: one suite, every backend.

use std::sync::Arc;

use libtest_mimic::Trial;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use projectord::event::{Commit, CommitId, NewEvent, StreamId, Version};
use projectord::store::{
    AppendError, Appended, EventStore, ExpectedVersion, LoadError, MemoryStore, PostgresStore, RethinkStore,
    Settings,
};

use crate::support::{new_database, new_rethink_database, rethink_trial, trial};

type Store = Arc<dyn EventStore>;

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    macro_rules! suite {
        ($($promise:ident),* $(,)?) => {$(
            let name = stringify!($promise);
            trials.push(trial(format!("memory::{name}"), || async { $promise(memory()).await }));
            trials.push(trial(format!("postgres::{name}"), || async { $promise(postgres().await).await }));
            trials.push(rethink_trial(format!("rethinkdb::{name}"), || async { $promise(rethink().await).await }));
        )*};
    }
    suite![
        what_is_appended_is_loaded_in_order,
        an_unknown_stream_is_not_found,
        no_stream_conflicts_with_a_stream,
        exact_conflicts_with_any_other_version,
        any_appends_at_the_end,
        a_commit_is_all_or_nothing,
        the_same_commit_again_is_success,
        a_commit_id_elsewhere_in_the_stream_is_a_conflict,
        any_may_be_raced,
        loading_begins_at_a_version,
        a_page_of_a_stream_is_its_first_events,
        a_stream_keeps_its_type,
        what_breaks_a_rule_is_refused,
        sixteen_writers_have_one_winner_a_version,
        appends_at_once_have_each_an_answer_of_its_own,
        long_streams_load_whole,
        every_json_shape_survives,
    ];
    trials
}

fn memory() -> Store {
    Arc::new(MemoryStore::new(Settings::default()))
}

async fn postgres() -> Store {
    let store = PostgresStore::new(&new_database().await.parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    Arc::new(store)
}

async fn rethink() -> Store {
    let store = RethinkStore::new(new_rethink_database().parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    Arc::new(store)
}

fn events(range: std::ops::RangeInclusive<u64>) -> Vec<NewEvent> {
    range.map(|n| NewEvent::from_json("Counted", json!({ "n": n }))).collect()
}

fn commit(range: std::ops::RangeInclusive<u64>) -> Commit {
    Commit::new("counter", events(range))
}

async fn numbers(store: &Store, stream: StreamId) -> Vec<u64> {
    let loaded = store.load_stream(stream, Version(1)).await.unwrap();
    assert_eq!(loaded.version.0, loaded.events.len() as u64);
    let versions: Vec<u64> = loaded.events.iter().map(|event| event.version.0).collect();
    assert_eq!(versions, (1..=loaded.version.0).collect::<Vec<_>>());
    loaded.events.iter().map(|event| event.data["n"].as_u64().unwrap()).collect()
}

async fn what_is_appended_is_loaded_in_order(store: Store) {
    let stream = StreamId::random();
    let first = commit(1..=3);
    let done = store.append_to_stream(stream, ExpectedVersion::NoStream, first.clone()).await.unwrap();
    assert_eq!((done.first, done.version), (Version(1), Version(3)));
    let done =
        store.append_to_stream(stream, ExpectedVersion::Exact(Version(3)), commit(4..=4)).await.unwrap();
    assert_eq!((done.first, done.version), (Version(4), Version(4)));
    assert_eq!(numbers(&store, stream).await, [1, 2, 3, 4]);
    let event = &store.load_stream(stream, Version(1)).await.unwrap().events[0];
    assert_eq!((event.stream_id, event.commit_id), (stream, first.id));
    assert_eq!((event.stream_type.as_str(), event.event_type.as_str()), ("counter", "Counted"));
    assert_eq!(event.metadata, json!({}));
}

async fn an_unknown_stream_is_not_found(store: Store) {
    let stream = StreamId::random();
    assert_eq!(store.load_stream(stream, Version(1)).await, Err(LoadError::NotFound(stream)));
}

async fn no_stream_conflicts_with_a_stream(store: Store) {
    let stream = StreamId::random();
    store.append_to_stream(stream, ExpectedVersion::NoStream, commit(1..=2)).await.unwrap();
    let again = store.append_to_stream(stream, ExpectedVersion::NoStream, commit(1..=2)).await;
    let expected = ExpectedVersion::NoStream;
    assert_eq!(again, Err(AppendError::Conflict { stream, expected, actual: Version(2) }));
}

async fn exact_conflicts_with_any_other_version(store: Store) {
    let stream = StreamId::random();
    for wrong in [1, 7] {
        let expected = ExpectedVersion::Exact(Version(wrong));
        let outcome = store.append_to_stream(stream, expected, commit(1..=1)).await;
        assert_eq!(outcome, Err(AppendError::Conflict { stream, expected, actual: Version(0) }));
    }
    store.append_to_stream(stream, ExpectedVersion::Exact(Version(0)), commit(1..=3)).await.unwrap();
    for wrong in [0, 1, 2, 4, 9] {
        let expected = ExpectedVersion::Exact(Version(wrong));
        let outcome = store.append_to_stream(stream, expected, commit(9..=9)).await;
        assert_eq!(outcome, Err(AppendError::Conflict { stream, expected, actual: Version(3) }));
    }
    assert_eq!(numbers(&store, stream).await, [1, 2, 3]);
}

async fn any_appends_at_the_end(store: Store) {
    let stream = StreamId::random();
    for n in 1..=5 {
        let done = store.append_to_stream(stream, ExpectedVersion::Any, commit(n..=n)).await.unwrap();
        assert_eq!(done.version, Version(n));
    }
    assert_eq!(numbers(&store, stream).await, [1, 2, 3, 4, 5]);
}

async fn a_commit_is_all_or_nothing(store: Store) {
    let stream = StreamId::random();
    store.append_to_stream(stream, ExpectedVersion::NoStream, commit(1..=1)).await.unwrap();
    let mut half_bad = commit(2..=4);
    half_bad.events[1].data = json!({ "n": "\0" });
    store.append_to_stream(stream, ExpectedVersion::Exact(Version(1)), half_bad).await.unwrap_err();
    assert_eq!(numbers(&store, stream).await, [1]);
}

async fn the_same_commit_again_is_success(store: Store) {
    let stream = StreamId::random();
    let (first, second) = (commit(1..=2), commit(3..=4));
    let one = store.append_to_stream(stream, ExpectedVersion::NoStream, first.clone()).await.unwrap();
    let at = ExpectedVersion::Exact(Version(2));
    let two = store.append_to_stream(stream, at, second.clone()).await.unwrap();
    for n in 5..=8 {
        store.append_to_stream(stream, ExpectedVersion::Any, commit(n..=n)).await.unwrap();
    }
    let again = store.append_to_stream(stream, ExpectedVersion::NoStream, first).await.unwrap();
    assert_eq!(again, Appended { repeated: true, ..one });
    let again = store.append_to_stream(stream, at, second).await.unwrap();
    assert_eq!(again, Appended { repeated: true, ..two });
    assert!(!one.repeated && !two.repeated);
    assert_eq!(numbers(&store, stream).await, [1, 2, 3, 4, 5, 6, 7, 8]);
}

async fn a_commit_id_elsewhere_in_the_stream_is_a_conflict(store: Store) {
    let stream = StreamId::random();
    let first = commit(1..=3);
    store.append_to_stream(stream, ExpectedVersion::NoStream, first.clone()).await.unwrap();
    let expected = ExpectedVersion::Exact(Version(1));
    let outcome = store.append_to_stream(stream, expected, first).await;
    assert_eq!(outcome, Err(AppendError::Conflict { stream, expected, actual: Version(3) }));
}

async fn any_may_be_raced(store: Store) {
    let stream = StreamId::random();
    let writers = (1..=8).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.append_to_stream(stream, ExpectedVersion::Any, commit(n..=n)).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap().unwrap();
    }
    let mut all = numbers(&store, stream).await;
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3, 4, 5, 6, 7, 8]);
}

async fn loading_begins_at_a_version(store: Store) {
    let stream = StreamId::random();
    store.append_to_stream(stream, ExpectedVersion::NoStream, commit(1..=40)).await.unwrap();
    store.append_to_stream(stream, ExpectedVersion::Any, commit(41..=45)).await.unwrap();
    for from in [0, 1, 2, 39, 40, 41, 45] {
        let loaded = store.load_stream(stream, Version(from)).await.unwrap();
        let versions: Vec<u64> = loaded.events.iter().map(|event| event.version.0).collect();
        assert_eq!(versions, (from.max(1)..=45).collect::<Vec<_>>(), "from {from}");
        assert_eq!(loaded.version, Version(45));
    }
    for beyond in [46, 100, 1_000_000] {
        let beyond = store.load_stream(stream, Version(beyond)).await.unwrap();
        assert_eq!((beyond.events.len(), beyond.version), (0, Version(45)));
    }
    let nothing = StreamId::random();
    assert_eq!(store.load_stream(nothing, Version(1_000_000)).await, Err(LoadError::NotFound(nothing)));
}

async fn a_page_of_a_stream_is_its_first_events(store: Store) {
    let stream = StreamId::random();
    store.append_to_stream(stream, ExpectedVersion::NoStream, commit(1..=40)).await.unwrap();
    for n in 41..=45 {
        store.append_to_stream(stream, ExpectedVersion::Any, commit(n..=n)).await.unwrap();
    }
    for from in [0, 1, 2, 39, 40, 41, 44, 45, 46, 100] {
        for most in [1, 2, 39, 40, 41, 45, 1000] {
            let page = store.load_page(stream, Version(from), most.try_into().unwrap()).await.unwrap();
            let versions: Vec<u64> = page.events.iter().map(|event| event.version.0).collect();
            let wanted: Vec<u64> = (from.max(1)..=45).take(most as usize).collect();
            assert_eq!((versions, page.version), (wanted, Version(45)), "{most} from {from}");
        }
    }
    let nothing = StreamId::random();
    for from in [1, 1_000_000] {
        let page = store.load_page(nothing, Version(from), 5.try_into().unwrap()).await;
        assert_eq!(page, Err(LoadError::NotFound(nothing)));
    }
}

async fn a_stream_keeps_its_type(store: Store) {
    let stream = StreamId::random();
    store.append_to_stream(stream, ExpectedVersion::NoStream, commit(1..=1)).await.unwrap();
    let other = Commit::new("invoice", events(2..=2));
    let outcome = store.append_to_stream(stream, ExpectedVersion::Any, other).await;
    assert!(matches!(outcome, Err(AppendError::Invalid(_))), "{outcome:?}");
}

async fn what_breaks_a_rule_is_refused(store: Store) {
    let stream = StreamId::random();
    let deep = |depth: usize| (1..depth).fold(json!(1), |inner, _| json!([inner]));
    let with = |data: Value| Commit::new("counter", vec![NewEvent::from_json("E", data)]);
    let typed = |event_type: &str| Commit::new("counter", vec![NewEvent::from_json(event_type, json!({}))]);
    let too_large = [("bytes", with(json!("x".repeat(1 << 20)))), ("events", commit(1..=1001))];
    for (rule, commit) in too_large {
        let outcome = store.append_to_stream(stream, ExpectedVersion::Any, commit).await;
        assert!(matches!(outcome, Err(AppendError::TooLarge(_))), "{rule}: {outcome:?}");
    }
    let invalid = [
        ("nul in a value", with(json!({"a": ["x\0"]}))),
        ("nul in a key", with(json!({"a\0": 1}))),
        ("nul in metadata", {
            let event = NewEvent::from_json("E", json!({})).with_metadata(json!("\0"));
            Commit::new("counter", vec![event])
        }),
        ("large integer", with(json!({"n": 9_007_199_254_740_992_u64}))),
        ("large negative integer", with(json!({"n": -9_007_199_254_740_992_i64}))),
        ("reserved key", with(json!({"a": {"$reql_type$": "TIME"}}))),
        ("depth 65", with(deep(65))),
        ("no events", Commit::new("counter", vec![])),
        ("empty type", typed("")),
        ("long type", typed(&"é".repeat(101))),
        ("nul in type", typed("a\0b")),
        ("empty stream type", Commit::new("", events(1..=1))),
    ];
    for (rule, commit) in invalid {
        let outcome = store.append_to_stream(stream, ExpectedVersion::Any, commit).await;
        assert!(matches!(outcome, Err(AppendError::Invalid(_))), "{rule}: {outcome:?}");
    }
    assert_eq!(store.load_stream(stream, Version(1)).await, Err(LoadError::NotFound(stream)));
    for data in [deep(64), json!(9_007_199_254_740_991_u64), json!(1e300), json!("x".repeat((1 << 20) - 100))]
    {
        store.append_to_stream(stream, ExpectedVersion::Any, with(data)).await.unwrap();
    }
    let odd = "Typ 'x'; DROP TABLE orders;--\n\"ü\"";
    store.append_to_stream(stream, ExpectedVersion::Any, typed(odd)).await.unwrap();
    assert_eq!(store.load_stream(stream, Version(5)).await.unwrap().events[0].event_type, odd);
}

async fn sixteen_writers_have_one_winner_a_version(store: Store) {
    const ROUNDS: u64 = 20;
    let stream = StreamId::random();
    for round in 0..ROUNDS {
        let expected = ExpectedVersion::Exact(Version(round));
        let writers = (0..16).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.append_to_stream(stream, expected, commit(1..=1)).await })
        });
        let mut won = 0;
        for writer in writers.collect::<Vec<_>>() {
            match writer.await.unwrap() {
                Ok(_) => won += 1,
                Err(AppendError::Conflict { actual, .. }) => assert_eq!(actual, Version(round + 1)),
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(won, 1, "at version {round}");
    }
    assert_eq!(numbers(&store, stream).await.len() as u64, ROUNDS);
}

/// Backends may do several appends by one statement; what is wrong with one is no other's affair.
async fn appends_at_once_have_each_an_answer_of_its_own(store: Store) {
    // One id for all new streams: an id names an append in its stream, and not in the store.
    let (shared, mut asked) = (CommitId::random(), Vec::new());
    for kind in (0..6).cycle().take(60) {
        let (stream, first) = (StreamId::random(), commit(1..=2));
        if kind != 0 {
            store.append_to_stream(stream, ExpectedVersion::NoStream, first.clone()).await.unwrap();
        }
        let exactly = |version| ExpectedVersion::Exact(Version(version));
        let (expected, commit) = match kind {
            0 => (ExpectedVersion::NoStream, first.with_id(shared)),
            1 => (exactly(2), commit(3..=3)),
            2 => (exactly(1), commit(3..=3)),
            3 => (ExpectedVersion::NoStream, first),
            4 => (exactly(2), Commit::new("invoice", events(3..=3))),
            _ => (ExpectedVersion::Any, commit(3..=3)),
        };
        asked.push((kind, stream, expected, commit));
    }
    let going: Vec<_> = asked
        .into_iter()
        .map(|(kind, stream, expected, commit)| {
            let store = Arc::clone(&store);
            tokio::spawn(
                async move { (kind, stream, store.append_to_stream(stream, expected, commit).await) },
            )
        })
        .collect();
    for append in going {
        let (kind, stream, outcome) = append.await.unwrap();
        let appended = |first, version, repeated| {
            Ok(Appended { first: Version(first), version: Version(version), repeated })
        };
        let kept = match kind {
            0 => outcome == appended(1, 2, false),
            1 | 5 => outcome == appended(3, 3, false),
            2 => matches!(outcome, Err(AppendError::Conflict { actual: Version(2), .. })),
            3 => outcome == appended(1, 2, true),
            _ => matches!(outcome, Err(AppendError::Invalid(_))),
        };
        assert!(kept, "{kind}: {outcome:?}");
        let last = if matches!(kind, 1 | 5) { 3 } else { 2 };
        assert_eq!(numbers(&store, stream).await, (1..=last).collect::<Vec<_>>(), "{kind}");
    }
}

async fn long_streams_load_whole(store: Store) {
    let stream = StreamId::random();
    store.append_to_stream(stream, ExpectedVersion::NoStream, commit(1..=600)).await.unwrap();
    store.append_to_stream(stream, ExpectedVersion::Any, commit(601..=1000)).await.unwrap();
    assert_eq!(numbers(&store, stream).await, (1..=1000).collect::<Vec<_>>());
}

/// Any JSON that the rules allow, and that a double can hold.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 53) + 1..1_i64 << 53).prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no NaN", |number| number.is_finite()).prop_map(Value::from),
        "[^\0]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[^\0]{0,8}", inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Equal by value: `1` is `1.0`.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}

async fn every_json_shape_survives(store: Store) {
    let mut runner = TestRunner::default();
    let mut shapes: Vec<Value> =
        (0..300).map(|_| any_json().new_tree(&mut runner).unwrap().current()).collect();
    shapes.extend([
        json!([69, [1, 2]]),
        json!([[15, ["events"]]]),
        json!({"$reql": 1, "": [], "é\u{10ffff}": {}}),
    ]);
    shapes.extend([json!(1e300), json!(5e-324), json!(1.797_693_134_862_315_7e308), json!(0.1), json!(-0.0)]);
    for chunk in shapes.chunks(100) {
        let stream = StreamId::random();
        let events =
            chunk.iter().map(|data| NewEvent::from_json("Shape", data.clone()).with_metadata(data.clone()));
        let commit = Commit::new("shapes", events.collect()).with_id(CommitId::random());
        store.append_to_stream(stream, ExpectedVersion::NoStream, commit).await.unwrap();
        let loaded = store.load_stream(stream, Version(1)).await.unwrap();
        for (event, given) in loaded.events.iter().zip(chunk) {
            assert!(same(&event.data, given), "stored {} as {}", given, event.data);
            assert!(same(&event.metadata, given), "stored {} as {}", given, event.metadata);
        }
    }
}
