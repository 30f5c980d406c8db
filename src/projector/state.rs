//! The states of a projection.

use std::fmt;

use serde::Serialize;

use crate::event::Position;

/// What a projection is doing.
///
/// ```text
///                    ┌────────────── behind ─────────────┐
///                    ▼                                   │
///  start ──► CatchingUp ──── at the head ────────────► Live
///                ▲ ▲  │                                 │
///                │ │  └─ error ─► Halted ◄── error ─────┤
///                │ │               │                    │
///   at built_to  │ └── resume ─────┴── resume ◄─ Paused ◄┤ pause (from anywhere)
///                │                                      │
///            Rebuilding ◄──────── rebuild ──────────────┤ (from anywhere)
///                                                       │
///   any ◄── the server is back ── Backoff ◄── server away ┘ (from anywhere)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Applying events that were there before.
    CatchingUp,
    /// Has everything that is in the log.
    Live,
    /// The server is away; trying again.
    Backoff,
    /// Stopped because somebody said so.
    Paused,
    /// Stopped at an event, with the reason on record, until somebody resumes it.
    Halted,
    /// Replaying from the first event, in the place of the rows that readers saw.
    Rebuilding,
}

impl State {
    /// As in the column `projectord.projections.state`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CatchingUp => "catching_up",
            Self::Live => "live",
            Self::Backoff => "backoff",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Rebuilding => "rebuilding",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// How far a projector is; for whoever waits in the same process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// What it does; none before it has read what is wanted.
    pub state: Option<State>,
    /// Where the last batch of this process ended: a checkpoint that PostgreSQL has confirmed.
    pub checkpoint: Position,
    /// What becomes of the generation that is to take the live one's place.
    pub build: Build,
}

/// A generation that is being built beside the live one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Build {
    /// There is none, or it is held until somebody has looked at it.
    #[default]
    None,
    /// It will take the live one's place.
    UnderWay,
    /// It cannot go on, or could not begin.
    Failed,
}
