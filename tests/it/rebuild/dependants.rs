//! What depends on a read model, and would go with its old rows.

use libtest_mimic::Trial;

use super::{GENERATION, MOVED, append, execute, live_project, write_accounts};
use crate::support::{text, trial};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("rebuild::what_depends_on_the_tables_is_refused_unless_forced", dependants),
        trial("rebuild::whatever_a_drop_would_take_depends_on_the_tables", all_dependants),
    ]
}

async fn dependants() {
    let (project, daemon, _) = live_project(3).await;
    let view = "create view public.sums as select sum(total) from accounts.accounts";
    execute(&project, view).await;
    let plan = project.ok(&["plan", "accounts"]);
    assert!(plan.contains("view public.sums"), "{plan}");
    let refused = project.run(&["rebuild", "accounts", "--wait"]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(text(&refused.stderr).contains("view public.sums"), "{}", text(&refused.stderr));
    // Where nobody asks, because the files have changed: it is built, and waits.
    write_accounts(&project, &MOVED.replace("::int)", "::int * 2)"));
    daemon.signal("HUP");
    let waits = "select error->>'message' like '%view public.sums%' from projectord.generations where state = 'building'";
    project.until_value(waits, "true").await;
    assert_eq!(project.value("select * from public.sums").await, "165");
    append(&project, 1).await;
    project.until_value("select * from public.sums", "220").await;
    execute(&project, "drop view public.sums").await;
    project.until_value(GENERATION, "2").await;
    assert_eq!(project.value("select sum(total) from accounts.accounts").await, "440");

    execute(&project, view).await;
    project.ok(&["rebuild", "accounts", "--wait", "--force"]);
    assert_eq!(project.value(GENERATION).await, "3");
    append(&project, 1).await;
    project.until_value("select * from public.sums", "550").await;
}

/// Everything that a drop would take along, each once, and nothing of the read model's own.
async fn all_dependants() {
    let (project, _daemon, _) = live_project(2).await;
    let own = "select string_agg(d, ', ') is null from projectord.dependants('accounts') d";
    assert_eq!(project.value(own).await, "true");
    execute(
        &project,
        "create schema reports;
         create view reports.sums as select sum(total) from accounts.accounts;
         create view reports.twice as select * from reports.sums;
         create materialized view reports.kept as select * from accounts.accounts;
         create table reports.copies (id int primary key, whole accounts.accounts, of uuid references accounts.accounts);
         create table reports.child () inherits (accounts.accounts);
         create function reports.how_many() returns bigint begin atomic select count(*) from accounts.accounts; end;
         create function reports.of(accounts.accounts) returns int language sql as 'select 1';
         create table reports.secured (id uuid);
         alter table reports.secured enable row level security;
         create policy known on reports.secured using (id in (select id from accounts.accounts));
         create publication accounts_out for table accounts.accounts",
    )
    .await;
    let all = "select string_agg(d, ', ' order by d) from projectord.dependants('accounts') d";
    let expected = [
        "foreign key of reports.copies",
        "function reports.how_many()",
        "function reports.of(accounts.accounts)",
        "materialized view reports.kept",
        "policy known on reports.secured",
        "publication relation accounts.accounts in publication accounts_out",
        "table column reports.copies.whole",
        "table reports.child",
        "view reports.sums",
        "view reports.twice",
    ];
    assert_eq!(project.value(all).await, expected.join(", "));
    let refused = project.run(&["rebuild", "accounts", "--wait"]);
    assert_eq!(refused.status.code(), Some(4));

    execute(&project, "drop schema reports cascade; drop publication accounts_out").await;
    project.ok(&["rebuild", "accounts", "--wait"]);
    execute(&project, "create view public.sums as select sum(total) from accounts.accounts").await;
    let undo = project.run(&["undo", "accounts", "--yes"]);
    assert_eq!(undo.status.code(), Some(4), "{}", text(&undo.stderr));
    assert!(
        text(&undo.stderr).contains("depend on accounts: view public.sums; drop them"),
        "{}",
        text(&undo.stderr)
    );
}
