//! Printing: whole lines, colours only on a terminal, and a quiet end where nobody reads any more.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

pub(super) use crate::text::{plain, thousands};

/// Prints a line.
pub(super) fn line(text: impl Display) {
    written(writeln!(io::stdout().lock(), "{text}"));
}

/// Prints without ending the line.
pub(super) fn text(text: impl Display) {
    let mut out = io::stdout().lock();
    written(write!(out, "{text}").and_then(|()| out.flush()));
}

fn written(outcome: io::Result<()>) {
    let Err(error) = outcome else { return };
    // `projectord tail | head` is no failure.
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    let _ = writeln!(io::stderr(), "projectord: cannot write: {error}");
    std::process::exit(1);
}

/// A colour of the terminal's own palette.
#[derive(Debug, Clone, Copy)]
pub(super) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Dim = 2,
    Bold = 1,
}

/// `text` in colour, where it goes to a terminal.
pub(super) fn paint(colour: Colour, text: impl Display) -> String {
    match io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => format!("\x1b[{}m{text}\x1b[0m", colour as u8),
        false => text.to_string(),
    }
}
