//! The command line: what can be said, and which file answers.

mod append;
mod audit;
mod check;
mod config;
mod demo;
mod exit;
mod explain;
mod import;
mod new;
mod operations;
mod operator;
mod pages;
mod parked;
mod pause;
mod plan;
mod print;
mod rebuild;
mod run;
mod setup;
mod status;
mod stream;
mod tail;
mod test;
mod undo;
mod verify;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{Loaded, load};
use exit::{Code, Failed};
#[cfg(feature = "testing")]
pub(crate) use import::read_lines;

/// Keeps disposable read models in PostgreSQL, always right, from events in RethinkDB or PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "projectord", version, after_help = exit::HELP, max_term_width = 100, propagate_version = true)]
struct Cli {
    /// The configuration file; config.toml in this folder unless given.
    #[arg(long, global = true, env = "PROJECTORD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create or update everything needed in both databases; safe to repeat.
    #[command(after_help = "Example:\n  projectord setup --config /etc/projectord/config.toml")]
    Setup,
    /// Run the daemon.
    #[command(
        after_help = "Examples:\n  projectord run\n  projectord run --until-caught-up   # for jobs and tests"
    )]
    Run(run::Arguments),
    /// Show the whole thing on a private PostgreSQL in .projectord/, with sample events appended live.
    #[command(after_help = "Example:\n  projectord demo --for 30s")]
    Demo(demo::Arguments),
    /// Append events from NDJSON, plain or gzip; a second run of the same file adds nothing.
    #[command(after_help = import::EXAMPLES)]
    Import(import::Arguments),
    /// Append one event.
    #[command(after_help = append::EXAMPLES)]
    Append(append::Arguments),
    /// Print the events of a stream, from the store.
    #[command(after_help = "Example:\n  projectord stream 6763e85f-f8d5-5bee-ad04-4ed1d6d49798 --json")]
    Stream(stream::Arguments),
    /// Follow the log live.
    #[command(after_help = "Example:\n  projectord tail --from 1 --type 'Order*'")]
    Tail(tail::Arguments),
    /// Show a row of a read model, and the events that made it.
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Arguments),
    /// Show the store, ingest and each projection.
    #[command(after_help = "Example:\n  projectord status --watch")]
    Status(status::Arguments),
    /// Prove that store, log and read models are complete: nothing missing, nothing twice.
    #[command(after_help = audit::EXAMPLES)]
    Audit(audit::Arguments),
    /// Say what a rebuild would take, and why one is due.
    #[command(after_help = plan::EXAMPLES)]
    Plan(plan::Arguments),
    /// Build a read model anew beside the live one, and swap it in.
    #[command(after_help = rebuild::EXAMPLES)]
    Rebuild(rebuild::Arguments),
    /// Prove that the live rows are those of a replay, row by row.
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::Arguments),
    /// Let readers see the rows again that were there before the last swap.
    #[command(after_help = "Example:\n  projectord undo orders")]
    Undo(undo::Arguments),
    /// Stop a projection where it is.
    #[command(after_help = "Example:\n  projectord pause orders")]
    Pause(Name),
    /// Let a paused or halted projection go on.
    #[command(after_help = "Example:\n  projectord resume orders")]
    Resume(Name),
    /// Show the events that were set aside because a handler failed.
    #[command(after_help = "Example:\n  projectord parked orders")]
    Parked(parked::Arguments),
    /// Apply parked events after all, in order.
    #[command(
        after_help = "Example:\n  projectord retry orders --stream 6763e85f-f8d5-5bee-ad04-4ed1d6d49798"
    )]
    Retry(parked::RetryArguments),
    /// Leave an event out of a projection for good; recorded, and asked for.
    #[command(after_help = "Example:\n  projectord skip orders 4711")]
    Skip(parked::SkipArguments),
    /// Show what operators did, by whom and when.
    #[command(after_help = operations::EXAMPLES)]
    Operations(operations::Arguments),
    /// Make the folder of a new projection, with a first test; from the events that there are, or a template.
    #[command(after_help = new::EXAMPLES)]
    New(new::Arguments),
    /// Run the tests of projections: events that are given, and the rows that must come of them.
    #[command(after_help = test::EXAMPLES)]
    Test(test::Arguments),
    /// Check configuration and projections, all problems at once, without changing anything.
    #[command(after_help = check::EXAMPLES)]
    Check(check::Arguments),
    /// Print the effective configuration and where each value came from, secrets redacted.
    #[command(after_help = "Example:\n  PROJECTORD_LOG__LEVEL=debug projectord config")]
    Config,
    /// Print what completes commands in a shell: bash, zsh or fish.
    #[command(after_help = pages::COMPLETIONS)]
    Completions(pages::CompletionsArguments),
    /// Print the manual page, or that of a verb.
    #[command(after_help = pages::MAN)]
    Man(pages::ManArguments),
}

#[derive(Debug, Args)]
struct Name {
    /// The projection.
    name: String,
}

/// Reads the command line, does what it says, and says how it went.
pub fn main() -> ExitCode {
    match answer(parse()) {
        Ok(code) => code.into(),
        Err(Failed { code, message }) => {
            let hint = match code {
                Code::Unavailable => "; `projectord config` shows where it was looked for",
                _ => "",
            };
            let _ = writeln!(io::stderr(), "projectord: {message}{hint}");
            code.into()
        }
    }
}

/// The command line; or its error, with the usage also where clap leaves it out: for a value that is missing
/// or wrong.
fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|mut error| {
        if error.use_stderr() && error.get(ContextKind::Usage).is_none() {
            let mut command = Cli::command();
            command.build();
            let verb = std::env::args().skip(1).find_map(|word| command.find_subcommand(word).cloned());
            let usage = verb.unwrap_or(command).render_usage();
            error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
        }
        error.exit()
    })
}

/// What can fail without a network fails first.
fn answer(cli: Cli) -> Result<Code, Failed> {
    match cli.verb {
        Verb::Demo(arguments) => return with_runtime(demo::run(arguments)),
        Verb::Completions(arguments) => return pages::completions(Cli::command(), &arguments),
        Verb::Man(arguments) => return pages::man(Cli::command(), &arguments),
        _ => {}
    }
    let loaded = match (load(cli.config.as_deref()), &cli.verb) {
        (Ok(loaded), _) => loaded,
        (Err(error), _) => return Err(Failed::new(Code::Config, error)),
    };
    match cli.verb {
        Verb::Config => config::run(&loaded),
        Verb::Run(arguments) => with_runtime(run::run(loaded, arguments)),
        verb => with_runtime(ask(verb, loaded)),
    }
}

async fn ask(verb: Verb, loaded: Loaded) -> Result<Code, Failed> {
    let config = loaded.config;
    match verb {
        Verb::Setup => setup::run(&config).await,
        Verb::Import(arguments) => import::run(&config, arguments).await,
        Verb::Append(arguments) => append::run(&config, arguments).await,
        Verb::Stream(arguments) => stream::run(&config, &arguments).await,
        Verb::Tail(arguments) => tail::run(&config, arguments).await,
        Verb::Status(arguments) => status::run(&config, &arguments).await,
        Verb::Plan(arguments) => plan::run(&config, &arguments).await,
        Verb::Rebuild(arguments) => rebuild::run(&config, arguments).await,
        Verb::Verify(arguments) => verify::run(&config, &arguments).await,
        Verb::Undo(arguments) => undo::run(&config, &arguments).await,
        Verb::Pause(Name { name }) => pause::pause(&config, &name).await,
        Verb::Resume(Name { name }) => pause::resume(&config, &name).await,
        Verb::Audit(arguments) => audit::run(&config, &arguments).await,
        Verb::Parked(arguments) => parked::run(&config, &arguments).await,
        Verb::Retry(arguments) => parked::retry(&config, &arguments).await,
        Verb::Skip(arguments) => parked::skip(&config, &arguments).await,
        Verb::Operations(arguments) => operations::run(&config, &arguments).await,
        Verb::Check(arguments) => check::run(&config, &arguments).await,
        Verb::Explain(arguments) => explain::run(&config, &arguments).await,
        Verb::New(arguments) => new::run(&config, arguments).await,
        Verb::Test(arguments) => test::run(&config, &arguments).await,
        Verb::Config | Verb::Run(_) | Verb::Demo(_) | Verb::Completions(_) | Verb::Man(_) => Ok(Code::Done),
    }
}

fn with_runtime(answer: impl Future<Output = Result<Code, Failed>>) -> Result<Code, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failed::new(Code::Failed, format!("cannot start: {error}")))?;
    let answered = runtime.block_on(answer);
    // A read of standard input that nobody needs any more would keep us.
    runtime.shutdown_background();
    answered
}
