//! `deploy/roles.sql`: the daemon works with the projector's rights, and a handler with less.

use libtest_mimic::Trial;
use sqlx::Executor;

use crate::support::{Project, text, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial("roles::the_projector_works_with_nothing_more_and_a_handler_with_less", least_privilege)]
}

/// The same database as another role.
fn become_role(project: &mut Project, role: &str) {
    let (scheme, rest) = project.postgres_url.split_once("://").unwrap();
    let place = rest.split_once('@').map_or(rest, |(_, place)| place);
    project.postgres_url = format!("{scheme}://{role}:of-the-tests@{place}");
}

async fn least_privilege() {
    let mut project = Project::new().await;
    for _ in 0..2 {
        project.pool.execute(sqlx::raw_sql(include_str!("../../deploy/roles.sql"))).await.unwrap();
    }
    let passwords = "alter role projectord_owner password 'of-the-tests';
                     alter role projectord_projector password 'of-the-tests'";
    project.pool.execute(sqlx::raw_sql(passwords)).await.unwrap();
    become_role(&mut project, "projectord_projector");
    let early = project.run(&["setup"]);
    assert!(!early.status.success() && text(&early.stderr).contains("as the role that owns it"), "{early:?}");
    become_role(&mut project, "projectord_owner");
    project.ok(&["setup"]);

    become_role(&mut project, "projectord_projector");
    project.copy("projections/orders");
    project.copy("projections/customers");
    let stream = "6763e85f-f8d5-5bee-ad04-4ed1d6d49798";
    let order =
        ["append", stream, "OrderCreated", r#"{"user_id": 7, "total": 12.5}"#, "--stream-type", "order"];
    project.ok(&order);
    project.ok(&["check", "--sample", "10"]);
    project.ok(&["run", "--until-caught-up"]);
    project.ok(&["rebuild", "orders", "--yes"]);
    project.ok(&["run", "--until-caught-up"]);
    project.ok(&["status"]);
    project.ok(&["audit"]);
    assert!(project.ok(&["operations"]).contains("rebuild"));
    let daemon = project.daemon();
    project.ok(&["rebuild", "orders", "--wait"]);
    let known = "select reltuples from pg_class where oid = 'orders.orders'::regclass";
    assert_eq!(project.value(known).await, "1", "its tables are looked after");
    drop(daemon);
    assert_eq!(project.value("select count(*) from orders.orders").await, "1");
    assert_eq!(
        project.value("select nspowner::regrole from pg_namespace where nspname = 'orders'").await,
        "projectord_orders"
    );

    let mut reader = project.pool.acquire().await.unwrap();
    reader.execute("set role projectord_reader").await.unwrap();
    reader.execute("select * from orders.orders").await.unwrap();
    reader.execute("select * from projectord.events").await.unwrap();
    reader.execute("select * from projectord.operations").await.unwrap();
    assert!(reader.execute("delete from orders.orders").await.is_err());
    reader.execute("set role projectord_projector").await.unwrap();
    assert!(reader.execute("delete from projectord.operations").await.is_err());
    drop(reader);

    for (nth, forbidden) in [
        "delete from orders.orders",
        "insert into orders.orders select * from orders.orders",
        "update projectord.generations set checkpoint = 0",
        "update projectord.log_head set position = 0",
        "insert into projectord.skipped (projection, position) values ('orders', 1)",
        "perform projectord.append_to_stream(event.stream_id, 'x', 1, gen_random_uuid(), '{}', '{}', '{}')",
        "insert into projectord.operations (who, what) values ('nobody', 'pause')",
        "create table public.mine (n int)",
        "create schema mine",
        "perform set_config('role', 'projectord_owner', true)",
        "perform pg_read_file('/etc/passwd')",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("sly{nth}");
        project.write(&name, "schema.sql", "create table t (n int);");
        project.write(&name, "OrderCreated.sql", &format!("{forbidden};"));
        assert_eq!(project.run(&["run", "--until-caught-up"]).status.code(), Some(3), "{forbidden}");
        let error = "select coalesce(p.error->>'sqlstate', p.error->>'message')
                       from projectord.projections p where name = ";
        let error = project.value(&format!("{error} '{name}'")).await;
        assert!(["42501", "42P01"].contains(&error.as_str()), "{forbidden}: {error}");
        std::fs::remove_dir_all(project.projections().join(&name)).unwrap();
    }
    assert_eq!(project.value("select count(*) from orders.orders").await, "1");
}
