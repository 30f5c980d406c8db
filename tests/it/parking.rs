//! Parking, and the audit that counts it.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};

use crate::support::{Project, rethink_trial, text, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("parking::a_failed_event_and_what_follows_in_its_stream_is_set_aside", sets_aside),
        trial("parking::retried_they_are_applied_in_order_and_the_rows_are_those_of_a_replay", retries),
        trial("parking::a_retry_that_fails_again_keeps_the_rest_parked", fails_again),
        trial("parking::what_fails_for_every_event_halts_all_the_same", halts_all_the_same),
        trial("parking::a_skipped_event_is_left_out_on_record_also_of_a_rebuild", skips),
        trial("parking::an_event_that_is_not_in_the_way_cannot_be_skipped", skips_nothing_else),
        trial("audit::rows_that_were_made_of_other_events_are_found", finds_other_events),
        trial("audit::a_log_with_a_hole_is_found", finds_a_hole),
        rethink_trial("audit::a_store_that_differs_from_the_log_is_found", finds_another_store),
    ]
}

/// Fails at amounts below zero, unless `limits` allows them.
fn write_accounts(project: &Project, on_error: &str) {
    project.write(
        "accounts",
        "schema.sql",
        "create table limits (lowest int not null);
         insert into limits values (0);
         create table balances (stream_id uuid primary key, balance int not null, chain text not null);",
    );
    project.write("accounts", "projection.toml", &format!("on_error = \"{on_error}\"\n"));
    project.write(
        "accounts",
        "Moved.sql",
        "if (event.data->>'amount')::int < (select lowest from limits) then
             raise exception 'an amount of % is too low', event.data->>'amount';
         end if;
         insert into balances values (event.stream_id, (event.data->>'amount')::int, md5(event.version::text))
             on conflict (stream_id) do update
             set balance = balances.balance + excluded.balance, chain = md5(balances.chain || event.version);",
    );
}

/// Two streams, interleaved; the first has a bad amount as its second event. Positions 1 to 8, of which
/// 3 is bad, 5 and 7 wait behind it, and 4 is of a type that nobody handles.
async fn append_accounts(project: &Project) -> (StreamId, StreamId) {
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    let (bad, good) = (StreamId::random(), StreamId::random());
    for (stream, event_type, amount) in [
        (bad, "Moved", 10),
        (good, "Moved", 1),
        (bad, "Moved", -5),
        (bad, "Noticed", 0),
        (bad, "Moved", 20),
        (good, "Moved", 2),
        (bad, "Moved", 30),
        (good, "Moved", 3),
    ] {
        let event = NewEvent::from_json(event_type, json!({ "amount": amount }));
        let commit = Commit::new("account", vec![event]);
        store.append_to_stream(stream, ExpectedVersion::Any, commit).await.unwrap();
    }
    (bad, good)
}

async fn parked_project() -> (Project, StreamId, StreamId) {
    let project = Project::new().await;
    write_accounts(&project, "park");
    let (bad, good) = append_accounts(&project).await;
    project.ok(&["run", "--until-caught-up"]);
    (project, bad, good)
}

async fn balance(project: &Project, stream: StreamId) -> String {
    project.value(&format!("select balance from accounts.balances where stream_id = '{stream}'")).await
}

async fn sets_aside() {
    let (project, bad, good) = parked_project().await;
    assert_eq!(balance(&project, bad).await, "10");
    assert_eq!(balance(&project, good).await, "6", "the other stream goes on");
    assert_eq!(
        project
            .value("select string_agg(position::text, ' ' order by position) from projectord.parked")
            .await,
        "3 5 7"
    );
    assert_eq!(project.value("select checkpoint from projectord.generations").await, "8");
    let shown = project.ok(&["parked", "accounts"]);
    assert!(shown.contains("an amount of -5 is too low") && shown.contains("Moved.sql:2"), "{shown}");
    assert!(shown.contains("waits behind an earlier event"), "{shown}");
    let first = project.ok(&["parked", "--json"]).lines().next().unwrap().to_owned();
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!((&first["position"], &first["state"]), (&json!(3), &json!("parked")));
    let status: Value = serde_json::from_str(&project.ok(&["status", "--json"])).unwrap();
    assert_eq!(status["projections"][0]["parked"], 3);
    let audit = project.ok(&["audit", "accounts"]);
    assert!(audit.contains("4 applied, 3 parked, 0 skipped"), "{audit}");
}

async fn retries() {
    let (project, bad, _) = parked_project().await;
    sqlx::query("update accounts.limits set lowest = -100").execute(&project.pool).await.unwrap();
    let _daemon = project.daemon();
    project.until_value("select count(*) from projectord.leases where owner is not null", "1").await;
    let said = project.ok(&["retry", "accounts", "--stream", &bad.to_string()]);
    assert!(said.contains("3 applied, 0 still parked"), "{said}");
    assert_eq!(balance(&project, bad).await, "55");
    project.ok(&["audit"]);
    let nothing = project.run(&["retry", "accounts"]);
    assert_eq!(nothing.status.code(), Some(5), "{}", text(&nothing.stderr));

    let live = project.rows("accounts.balances").await;
    project.write("accounts", "schema.sql", &{
        let schema = std::fs::read_to_string(project.projections().join("accounts/schema.sql")).unwrap();
        schema.replace("values (0)", "values (-100)")
    });
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(project.rows("accounts.balances").await, live, "in the order of its stream");
}

async fn fails_again() {
    let (project, bad, _) = parked_project().await;
    let _daemon = project.daemon();
    project.until_value("select count(*) from projectord.leases where owner is not null", "1").await;
    let again = project.run(&["retry", "accounts"]);
    assert_eq!(again.status.code(), Some(3), "{}", text(&again.stderr));
    assert!(text(&again.stdout).contains("0 applied, 3 still parked"), "{}", text(&again.stdout));
    assert_eq!(balance(&project, bad).await, "10");
    project.ok(&["audit"]);
}

async fn halts_all_the_same() {
    let (project, _, _) = parked_project().await;
    sqlx::query("drop table accounts.limits").execute(&project.pool).await.unwrap();
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    let event = NewEvent::from_json("Moved", json!({ "amount": 1 }));
    let commit = Commit::new("account", vec![event]);
    store.append_to_stream(StreamId::random(), ExpectedVersion::NoStream, commit).await.unwrap();
    assert_eq!(project.run(&["run", "--until-caught-up"]).status.code(), Some(3));
    assert_eq!(project.value("select count(*) from projectord.parked").await, "3");
    assert_eq!(project.value("select error->>'sqlstate' from projectord.projections").await, "42P01");
}

async fn skips() {
    let project = Project::new().await;
    write_accounts(&project, "halt");
    let (bad, _) = append_accounts(&project).await;
    assert_eq!(project.run(&["run", "--until-caught-up"]).status.code(), Some(3));
    let unasked = project.run(&["skip", "accounts", "3"]);
    assert_eq!(unasked.status.code(), Some(2), "without a terminal it must be said");
    assert!(text(&unasked.stderr).contains("--yes"), "{}", text(&unasked.stderr));
    project.ok(&["skip", "accounts", "3", "--yes"]);
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(balance(&project, bad).await, "60");
    let recorded = "select position || ' ' || (error->>'sqlstate') || ' ' || (skipped_by = current_user)
                      from projectord.skipped";
    assert_eq!(project.value(recorded).await, "3 P0001 true");
    project.ok(&["audit"]);
    let live = project.rows("accounts.balances").await;
    project.ok(&["plan", "accounts"]);
    project.ok(&["rebuild", "accounts", "--yes"]);
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(project.rows("accounts.balances").await, live);
    let audit = project.ok(&["audit"]);
    assert!(audit.contains("6 applied, 0 parked, 1 skipped"), "{audit}");

    // Of a parked stream, what waits behind the skipped event can then be applied.
    let (project, bad, _) = parked_project().await;
    let plan = project.ok(&["plan", "accounts"]);
    assert!(plan.contains("events/s"), "what would be parked does not stop it: {plan}");
    project.ok(&["skip", "accounts", "3", "--yes"]);
    let _daemon = project.daemon();
    project.until_value("select count(*) from projectord.leases where owner is not null", "1").await;
    project.ok(&["retry", "accounts"]);
    assert_eq!(balance(&project, bad).await, "60");
    project.ok(&["audit"]);
}

async fn skips_nothing_else() {
    let (project, _, _) = parked_project().await;
    for position in ["1", "4", "8", "99"] {
        let refused = project.run(&["skip", "accounts", position, "--yes"]);
        assert_eq!(refused.status.code(), Some(5), "{position}: {}", text(&refused.stderr));
    }
    assert_eq!(project.value("select count(*) from projectord.skipped").await, "0");
}

async fn finds_other_events() {
    for (tampering, said) in [
        ("update projectord.generations set events = events + 1", "changed by hand"),
        (
            "update projectord.generations g set events = events + 1,
                    seal = projectord.seal(generation, checkpoint, events + 1, digest)",
            "ran on 5 events, and should have on 4",
        ),
        (
            "update projectord.generations g set digest = digest # 1,
                    seal = projectord.seal(generation, checkpoint, events, digest # 1)",
            "ran on other events",
        ),
        ("delete from projectord.parked where position = 5", "ran on 4 events, and should have on 5"),
        // Nobody knows any more which types it has handlers for.
        ("delete from projectord.sources", "ran on 4 events, and should have on 0"),
    ] {
        let (project, _, _) = parked_project().await;
        project.ok(&["audit"]);
        sqlx::query(tampering).execute(&project.pool).await.unwrap();
        let audit = project.run(&["audit"]);
        assert_eq!(audit.status.code(), Some(1), "{tampering}");
        assert!(text(&audit.stdout).contains(said), "{tampering}: {}", text(&audit.stdout));
    }
}

/// By somebody who may do anything, and did.
async fn finds_a_hole() {
    for tampering in [
        "delete from projectord.events where position = 6",
        "update projectord.events set version = version + 10 where position = 8",
        "update projectord.log_head set position = 7",
    ] {
        let (project, _, _) = parked_project().await;
        let mut tx = project.pool.begin().await.unwrap();
        sqlx::query("set local session_replication_role = replica").execute(&mut *tx).await.unwrap();
        sqlx::query(tampering).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let audit = project.run(&["audit"]);
        assert_eq!(audit.status.code(), Some(1), "{tampering}: {}", text(&audit.stdout));
        assert!(text(&audit.stdout).contains("WRONG  log"), "{tampering}: {}", text(&audit.stdout));
    }
}

async fn finds_another_store() {
    let project = Project::on_rethinkdb().await;
    write_accounts(&project, "park");
    project.ok(&["setup"]);
    for _ in 0..20 {
        let stream = StreamId::random().to_string();
        project.ok(&["append", &stream, "Moved", "{\"amount\": 1}", "--stream-type", "account"]);
    }
    project.ok(&["run", "--until-caught-up"]);
    let audit = project.ok(&["audit"]);
    assert!(audit.contains("20 commits, 20 heads"), "{audit}");
    let mut tx = project.pool.begin().await.unwrap();
    sqlx::query("set local session_replication_role = replica").execute(&mut *tx).await.unwrap();
    sqlx::query("update projectord.events set commit_id = gen_random_uuid() where position = 6")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let audit = project.run(&["audit"]);
    assert_eq!(audit.status.code(), Some(1));
    let said = text(&audit.stdout);
    assert!(said.contains("in the log and not in the store"), "{said}");
    assert!(said.contains("in the store and not in the log"), "{said}");
}
