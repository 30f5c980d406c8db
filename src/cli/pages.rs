//! `projectord completions` and `projectord man`: what the shell and `man` want to know, from the same source as
//! `--help`.

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::exit::{Code, Failed};
use super::print;

pub(super) const COMPLETIONS: &str = "Examples:
  projectord completions bash > /etc/bash_completion.d/projectord
  projectord completions zsh > /usr/local/share/zsh/site-functions/_projectord
  projectord completions fish > ~/.config/fish/completions/projectord.fish";

pub(super) const MAN: &str = "Examples:
  projectord man > /usr/local/share/man/man1/projectord.1
  projectord man rebuild | man -l -";

#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell.
    #[arg(value_parser = ["bash", "zsh", "fish"])]
    shell: String,
}

#[derive(Debug, Args)]
pub(super) struct ManArguments {
    /// The verb; the page of the whole command where none is named.
    verb: Option<String>,
}

pub(super) fn completions(mut command: Command, arguments: &CompletionsArguments) -> Result<Code, Failed> {
    let shell = match arguments.shell.as_str() {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        _ => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "projectord", &mut script);
    print_bytes(&script)
}

pub(super) fn man(mut command: Command, arguments: &ManArguments) -> Result<Code, Failed> {
    command.build();
    let command = match &arguments.verb {
        None => command,
        Some(verb) => match command.find_subcommand(verb) {
            Some(found) => found.clone(),
            None => {
                return Err(Failed::new(Code::NotFound, format!("no verb {verb:?}; see projectord --help")));
            }
        },
    };
    let mut page = Vec::new();
    Man::new(command).render(&mut page).map_err(|error| Failed::new(Code::Failed, error))?;
    print_bytes(&page)
}

fn print_bytes(bytes: &[u8]) -> Result<Code, Failed> {
    print::text(String::from_utf8_lossy(bytes));
    Ok(Code::Done)
}
