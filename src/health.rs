//! Whether this daemon does its part, as whoever judges it has found; for whoever says so.

/// What was found; ready where there is no reason not to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// Why not, one sentence each.
    pub(crate) reasons: Vec<String>,
}

impl Health {
    /// Before anybody has looked.
    pub(crate) fn unknown() -> Self {
        Self { reasons: vec!["starting: nothing has been looked at yet".into()] }
    }

    /// Whether it does its part.
    pub(crate) fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }
}
