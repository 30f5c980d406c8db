//! The bell: "there is something to read". It carries nothing, may be lost, and may ring for nothing.

use std::time::Duration;

use tokio::sync::watch;

/// Rings.
#[derive(Debug)]
pub struct Ringer(watch::Sender<u64>);

/// Hears. Each clone hears every ring.
#[derive(Debug, Clone)]
pub struct Bell(watch::Receiver<u64>);

impl Ringer {
    /// A bell that nobody hears yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Rings.
    pub fn ring(&self) {
        self.0.send_modify(|rings| *rings += 1);
    }

    /// Somebody who hears.
    pub fn bell(&self) -> Bell {
        Bell(self.0.subscribe())
    }
}

impl Default for Ringer {
    fn default() -> Self {
        Self::new()
    }
}

impl Bell {
    /// Waits for a ring since the last call, at most `patience`.
    pub async fn heard(&mut self, patience: Duration) {
        // An error means that the ringer is gone: the daemon is going too, and says so elsewhere.
        if let Ok(Err(_)) = tokio::time::timeout(patience, self.0.changed()).await {
            tokio::time::sleep(patience).await;
        }
    }

    /// Whether it rang since the last call.
    pub fn rang(&mut self) -> bool {
        let rang = self.0.has_changed().unwrap_or(false);
        self.0.mark_unchanged();
        rang
    }
}
