//! What the README says that can be done with nothing but curl, done with its own commands.

use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;

use super::orders;
use crate::support::{text, trial, until};

pub fn trials() -> Vec<Trial> {
    vec![trial("http_api::the_commands_of_the_readme_do_what_it_says", readme)]
}

const README: &str = include_str!("../../../README.md");

/// The blocks of shell commands under the heading.
fn commands() -> Vec<String> {
    let (_, section) = README.split_once("\n#### With nothing but curl\n").unwrap();
    let section = section.split_once("\n#").map_or(section, |(section, _)| section);
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split_once("```").unwrap().0.to_owned()).collect()
}

async fn readme() {
    let (project, site) = orders().await;
    let folder = project.folder.path();
    let shell = |commands: &str| {
        let commands = commands.replace("127.0.0.1:8410", &site.address);
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &commands]).current_dir(folder).stdin(Stdio::null());
        command
    };
    let [watch, append, read] = commands().try_into().unwrap();
    let arrived = folder.join("arrived");
    let file = std::fs::File::create(&arrived).unwrap();
    let mut watching = shell(&watch.replace("curl ", "exec curl ")).stdout(file).spawn().unwrap();

    let appended = shell(&append).output().unwrap();
    let said = text(&appended.stdout);
    assert!(appended.status.success(), "{said}\n{}", text(&appended.stderr));
    assert_eq!(said.matches(r#""already_there":false"#).count(), 2, "{said}");
    assert!(said.contains(r#""version":1"#) && said.contains(r#""version":2"#), "{said}");
    until("both arrive", Duration::from_secs(20), async || {
        let arrived = std::fs::read_to_string(&arrived).unwrap();
        arrived.contains(r#""type":"OrderCreated""#) && arrived.contains(r#""type":"StatusChanged""#)
    })
    .await;
    watching.kill().unwrap();
    watching.wait().unwrap();

    let read = shell(&read).output().unwrap();
    let said = text(&read.stdout);
    assert!(read.status.success(), "{said}\n{}", text(&read.stderr));
    assert!(said.contains(r#""position":2"#) && said.contains(r#""status": "sent""#), "{said}");
}
