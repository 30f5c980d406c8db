//! The recipes in `docs/projections.md`, taken out of the text and held against PostgreSQL.

use libtest_mimic::Trial;
use serde_json::json;

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};

use crate::support::{Project, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial("cookbook::every_recipe_is_found_right_and_runs", recipes)]
}

const DOCS: &str = include_str!("../../docs/projections.md");

/// The blocks of code of a text: language and content.
fn blocks(text: &str) -> Vec<(&str, String)> {
    let mut blocks: Vec<(&str, String)> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(_) if is_open => is_open = false,
            Some(language) => {
                blocks.push((language, String::new()));
                is_open = true;
            }
            None if is_open => {
                let (_, block) = blocks.last_mut().unwrap();
                block.push_str(line);
                block.push('\n');
            }
            None => {}
        }
    }
    blocks
}

/// The first block of SQL is the schema; a later one names its file in a comment, or is for `OrderCreated`.
async fn recipes() {
    let project = Project::new().await;
    let (_, cookbook) = DOCS.split_once("\n## Cookbook\n").unwrap();
    let mut names = Vec::new();
    for recipe in cookbook.split("\n**").skip(1) {
        let name = format!("recipe_{}", names.len());
        let mut is_schema = true;
        for (language, block) in blocks(recipe) {
            let comment = block.lines().next().and_then(|line| line.strip_prefix("-- "));
            let named = comment.and_then(|comment| comment.split([':', ' ']).next());
            let file = match language {
                "toml" => "projection.toml",
                _ if std::mem::take(&mut is_schema) => "schema.sql",
                _ => named.filter(|name| name.ends_with(".sql")).unwrap_or("OrderCreated.sql"),
            };
            project.write(&name, file, &block);
        }
        assert!(!is_schema, "a recipe without SQL: {recipe}");
        names.push(name);
    }
    assert!(names.len() >= 9, "{} recipes", names.len());
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    project.ok(&["check"]);

    for _ in 0..2 {
        let data = json!({"user_id": 7, "total": 12.5, "note": "two blue chairs", "name": "Ada",
                          "customer_id": StreamId::random().to_string(), "status": "sent"});
        let events = ["OrderCreated", "OrderPlaced", "CustomerRenamed", "StatusChanged", "ProductDeleted"];
        let events = events.map(|event_type| NewEvent::from_json(event_type, data.clone()));
        let commit = Commit::new("order", events.to_vec());
        store.append_to_stream(StreamId::random(), ExpectedVersion::NoStream, commit).await.unwrap();
    }
    project.ok(&["run", "--until-caught-up"]);
    let live = "select count(*) from projectord.generations where checkpoint = 10";
    assert_eq!(project.value(live).await, names.len().to_string());
}
