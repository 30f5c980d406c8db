//! What the daemon says of itself to whoever supervises it, by the protocol of sd_notify(3): ready, reloading,
//! stopping, one line of status, and that it gets on. Where nobody names a socket, nothing is said.

use std::ffi::OsStr;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::health::Health;
use crate::pulse::Pulse;
use crate::text::plain;

/// How long a supervisor that does not read may hold us up.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often to look whether there is something new to say, where nobody wants to hear it more often.
const LOOK: Duration = Duration::from_secs(5);
/// The main runtime beats every second.
const BEAT: Duration = Duration::from_secs(3);
/// A look at the daemon's health takes as long where both servers are silent, and some more.
const HEALTH: Duration = Duration::from_secs(60);

/// Who is told how the daemon is; nobody, by default.
#[derive(Debug, Clone, Default)]
pub struct Notify(Option<Arc<Socket>>);

#[derive(Debug)]
struct Socket {
    ours: UnixDatagram,
    theirs: SocketAddr,
    watchdog: Option<Duration>,
    /// Said once.
    is_deaf: AtomicBool,
}

impl Notify {
    /// Whoever `NOTIFY_SOCKET` names, with a watchdog where `WATCHDOG_USEC` says so.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub fn from_environment() -> io::Result<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Ok(Self::default());
        };
        // It may be meant for another process, from which we have it.
        let is_ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = variable("WATCHDOG_USEC").filter(|_| is_ours).and_then(|time| time.parse().ok());
        Self::to(&path, watchdog.map(Duration::from_micros))
    }

    /// Whoever listens at `path`, or at the abstract name after an `@`, and gives the daemon up when it has not heard
    /// from it for as long as `watchdog`.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub fn to(path: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let theirs = address(path)?;
        let ours = UnixDatagram::unbound()?;
        ours.set_write_timeout(Some(PATIENCE))?;
        let watchdog = watchdog.filter(|time| !time.is_zero());
        Ok(Self(Some(Arc::new(Socket { ours, theirs, watchdog, is_deaf: AtomicBool::new(false) }))))
    }

    pub(super) fn ready(&self) {
        self.say("READY=1");
    }

    /// Ends with the next `ready`. When it began tells it from one before.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000));
    }

    pub(super) fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=finishing what is in hand");
    }

    /// For whoever asks how it is.
    pub(super) fn status(&self, line: &str) {
        self.say(&format!("STATUS={}", plain(line)));
    }

    fn say(&self, what: &str) {
        let Some(socket) = &self.0 else { return };
        let sent = socket.ours.send_to_addr(what.as_bytes(), &socket.theirs);
        let was_deaf = socket.is_deaf.swap(sent.is_err(), Ordering::Relaxed);
        if let (Err(error), false) = (sent, was_deaf) {
            warn!(%error, "the supervisor does not hear");
        }
    }

    /// Tells how the daemon is, and that it gets on, on a thread of its own until the answer is dropped. `looks` beats
    /// whenever a look at its health has come to an end.
    pub(super) fn watch(
        &self,
        main: Pulse,
        looks: Pulse,
        health: watch::Receiver<Health>,
    ) -> Option<Watching> {
        let watchdog = self.0.as_ref()?.watchdog;
        let every = watchdog.map_or(LOOK, |time| LOOK.min(time / 4));
        let notify = self.clone();
        let (watching, ended) = channel::<()>();
        let watch = move || {
            let (mut said, mut fed) = (String::new(), true);
            loop {
                let line = in_one_line(&health.borrow());
                if line != said {
                    notify.status(&line);
                    said = line;
                }
                if let Some(watchdog) = watchdog {
                    let (main, looks) = (main.age(), looks.age());
                    let gets_on = gets_on(watchdog, main, looks);
                    match (gets_on, fed) {
                        (false, true) => {
                            error!(?main, ?looks, "the daemon does not get on; its watchdog is not fed");
                        }
                        (true, false) => info!("the daemon gets on again"),
                        _ => {}
                    }
                    if gets_on {
                        notify.say("WATCHDOG=1");
                    }
                    fed = gets_on;
                }
                if ended.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        match thread::Builder::new().name("watchdog".into()).spawn(watch) {
            Ok(_) => Some(Watching { _until_dropped: watching }),
            Err(error) => {
                warn!(%error, "cannot feed the watchdog");
                None
            }
        }
    }
}

/// Ends the thread when it is dropped.
pub(super) struct Watching {
    _until_dropped: Sender<()>,
}

/// Whether main runtime and health check have been heard of lately; the bounds are for a watchdog that is very short.
fn gets_on(watchdog: Duration, main: Duration, looks: Duration) -> bool {
    main < (watchdog / 2).max(BEAT) && looks < watchdog.max(HEALTH)
}

fn in_one_line(health: &Health) -> String {
    match health.reasons.as_slice() {
        [] => "ready".into(),
        [reason] => format!("not ready: {reason}"),
        [first, others @ ..] => format!("not ready: {first}; and {} more", others.len()),
    }
}

#[cfg(target_os = "linux")]
fn address(path: &OsStr) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;

    match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(path),
    }
}

#[cfg(not(target_os = "linux"))]
fn address(path: &OsStr) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_been_heard_of_lately_does_not_get_on() {
        let seconds = Duration::from_secs;
        assert!(gets_on(seconds(60), seconds(2), seconds(29)), "both servers are silent");
        assert!(!gets_on(seconds(60), seconds(30), seconds(1)), "the main runtime hangs");
        assert!(!gets_on(seconds(60), seconds(1), seconds(60)), "the health check hangs");
        assert!(gets_on(seconds(2), seconds(2), seconds(29)), "no watchdog is too short");
    }
}
