//! Points at which the fault lab makes the process die or wait, by name: `FAILPOINTS='ingest-fetched=return'`
//! ends it there as `kill -9` would. Without the feature `failpoints` there is nothing of this in the
//! program.

/// A point by this name.
#[inline]
pub(crate) fn point(name: &str) {
    #[cfg(feature = "failpoints")]
    fail::fail_point!(name, |_| {
        // Not `abort`, which writes a core: the end that nobody in the process notices.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    });
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}

/// Takes up what the environment asks for; once, also where a process runs several daemons.
pub(crate) fn arm() {
    #[cfg(feature = "failpoints")]
    {
        static ARMED: std::sync::Once = std::sync::Once::new();
        ARMED.call_once(|| std::mem::forget(fail::FailScenario::setup()));
    }
}
