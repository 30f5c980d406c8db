//! What the verbs of an operator share: the database in the hands of whoever runs this, saying what will happen,
//! asking before it does.

use std::io::{IsTerminal, Write, stdin, stdout};

use super::exit::{Code, Failed};
use super::print;
use crate::config::Config;
use crate::control::{Control, open_pool, this_user};

/// The configured database, in the hands of whoever runs this.
pub(super) async fn operator(config: &Config) -> Result<Control, Failed> {
    Ok(Control::new(open_pool(config).await?, this_user()))
}

/// Says what will happen, and whether anybody is there to do it.
pub(super) async fn said(control: &Control, what: &str) -> Result<Code, Failed> {
    let when =
        if control.daemons().await? == 0 { "; no daemon is running: it will when one starts" } else { "" };
    print::line(format!("{what}{when}"));
    Ok(Code::Done)
}

/// Asks on a terminal; refuses without one.
pub(super) fn confirm(what: &str) -> Result<(), Failed> {
    if !stdin().is_terminal() {
        return Err(Failed::new(Code::Usage, format!("this would {what}; say --yes")));
    }
    match ask(&format!("This will {what}. Go on?")) {
        true => Ok(()),
        false => Err(Failed::new(Code::Failed, "nothing was done")),
    }
}

/// Whether the answer is yes; without a terminal it is no.
pub(super) fn ask(question: &str) -> bool {
    if !stdin().is_terminal() {
        return false;
    }
    print::text(format!("{question} [y/N] "));
    let _ = stdout().flush();
    let mut answer = String::new();
    let _ = stdin().read_line(&mut answer);
    matches!(answer.trim(), "y" | "Y" | "yes")
}
