//! Shutdown as a level, not an edge: once requested it stays so, and every wait can look at it.

use std::time::Duration;

use tokio::sync::watch;

/// Requests the end.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Sees whether the end was requested.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Trigger {
    /// Not requested yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Requests it.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Somebody who sees it.
    pub fn subscribe(&self) -> Shutdown {
        Shutdown(self.0.subscribe())
    }
}

impl Default for Trigger {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Whether it was requested, or whoever could request it is gone.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until it is.
    pub async fn requested(&mut self) {
        let _ = self.0.wait_for(|requested| *requested).await;
    }

    /// Waits for `time`, or less where it is requested; whether it was.
    pub async fn within(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.requested()).await.is_ok()
    }
}
