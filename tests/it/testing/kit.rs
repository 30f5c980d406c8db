//! `projectord::testing`, as a user's own tests in Rust would have it.

use std::path::Path;

use libtest_mimic::Trial;
use projectord::postgres::Options;
use projectord::projection::{Definition, load};
use projectord::testing::{Given, ReadModel, TestError, run, tests_of};
use serde_json::json;

use crate::support::{Project, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("testing::a_test_in_rust_reads_the_rows_of_its_events", rows),
        trial("testing::a_test_in_rust_goes_back_and_forth_over_its_events", back_and_forth),
        trial("testing::a_test_in_rust_runs_the_files", files),
        trial("testing::a_test_in_rust_sees_what_postgresql_refuses", refused),
    ]
}

fn orders() -> Definition {
    load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("projections/orders")).unwrap()
}

fn given() -> Given {
    Given::new()
        .event("first", "OrderCreated", json!({"user_id": 7, "total": 12.5}))
        .and_then(|given| given.event("first", "StatusChanged", json!({"status": "sent"})))
        .and_then(|given| given.event("second", "OrderCreated", json!({"total": 1})))
        .unwrap()
}

async fn rows() {
    let project = Project::new().await;
    let options: Options = project.postgres_url.parse().unwrap();
    let mut connection = options.pool(1).acquire().await.unwrap();
    let given = given();
    let mut model = ReadModel::new(&mut connection, &orders(), &given).await.unwrap();
    model.apply_all().await.unwrap();
    let rows = model.rows("select id, status, version from orders;").await.unwrap();
    assert_eq!(rows, [json!({"id": given.stream("first"), "status": "sent", "version": 2})]);
    let failure = &model.applied().failures[0];
    assert_eq!((failure.sqlstate.as_deref(), model.applied().halted), (Some("23502"), true));
    assert_eq!(failure.event.as_ref().unwrap().position.0, 3);
    // A query that is refused is an error, and no end.
    assert!(model.rows("select nonsense").await.is_err());
    assert_eq!(model.rows("select count(*) from orders").await.unwrap(), [json!({"count": 1})]);
    // Dropped in the middle, it is gone.
    drop(model);
    drop(connection);
    assert_eq!(project.value("select count(*) from pg_namespace where nspname ~ 'orders'").await, "0");
}

async fn back_and_forth() {
    let project = Project::new().await;
    let options: Options = project.postgres_url.parse().unwrap();
    let mut connection = options.pool(1).acquire().await.unwrap();
    let mut model = ReadModel::new(&mut connection, &orders(), &given()).await.unwrap();
    for (to, batch, status) in [(1, 1, "created"), (2, 1, "sent"), (1, 3, "created"), (2, usize::MAX, "sent")]
    {
        model.apply(to, batch).await.unwrap();
        assert_eq!(model.rows("select status from orders").await.unwrap(), [json!({"status": status})]);
    }
    model.remove().await.unwrap();
}

async fn files() {
    let project = Project::new().await;
    let options: Options = project.postgres_url.parse().unwrap();
    let mut connection = options.pool(1).acquire().await.unwrap();
    let orders = orders();
    let (cases, problems) = tests_of(&orders);
    assert!(cases.len() >= 2 && problems.is_empty(), "{problems:?}");
    for case in &cases {
        let outcome = run(&mut connection, &orders, case).await.unwrap();
        assert!(outcome.passed(), "{:?}", outcome.failures);
    }
}

async fn refused() {
    let project = Project::new().await;
    let options: Options = project.postgres_url.parse().unwrap();
    let mut connection = options.pool(1).acquire().await.unwrap();
    let mut wrong = orders();
    wrong.schema_sql = "create table orders (\nid uuuid);".into();
    let error = ReadModel::new(&mut connection, &wrong, &given()).await.unwrap_err();
    assert!(matches!(&error, TestError::Projection(problems) if problems[0].line == Some(2)), "{error}");
    // The connection is as it was.
    ReadModel::new(&mut connection, &orders(), &given()).await.unwrap();
}
