//! What this process knows to be durable: for the streams it lately appended to, the last commit.
//!
//! "A durable commit ends at this version" stays true for ever, so it may be remembered; an append after
//! it needs nobody's word but that commit's key. Without it, the stream's head is asked, which may lag.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::event::{StreamId, Version};

/// How many streams are remembered: some 2 MB.
const STREAMS: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// How an append makes sure that its predecessor is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// It begins the stream.
    Nothing,
    /// The durable commit that begins at this version ends just before it.
    Commit(Version),
    /// Nothing is known here: the head must be at the place.
    Head,
}

/// The last durable commit of each stream, as far as it is known.
#[derive(Debug)]
pub(super) struct Known(Mutex<LruCache<StreamId, (Version, Version)>>);

impl Known {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(STREAMS)))
    }

    /// What is known of the place just after `at`.
    pub(super) fn before(&self, stream: StreamId, at: Version) -> Before {
        if at == Version::ZERO {
            return Before::Nothing;
        }
        match self.lock().get(&stream) {
            Some((first, last)) if *last == at => Before::Commit(*first),
            _ => Before::Head,
        }
    }

    /// The furthest version known.
    pub(super) fn version(&self, stream: StreamId) -> Option<Version> {
        self.lock().get(&stream).map(|(_, last)| *last)
    }

    /// A commit is durable.
    pub(super) fn learn(&self, stream: StreamId, first: Version, last: Version) {
        let mut known = self.lock();
        if known.peek(&stream).is_none_or(|(_, known)| *known <= last) {
            known.put(stream, (first, last));
        }
    }

    /// What was known is not so: the store is another than it was.
    pub(super) fn forget(&self, stream: StreamId) {
        self.lock().pop(&stream);
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<StreamId, (Version, Version)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_commit_stands_for_what_is_before_an_append() {
        let (known, stream) = (Known::new(), StreamId::random());
        assert_eq!(known.before(stream, Version::ZERO), Before::Nothing);
        assert_eq!(known.before(stream, Version(3)), Before::Head);
        known.learn(stream, Version(1), Version(3));
        assert_eq!(known.before(stream, Version(3)), Before::Commit(Version(1)));
        // Inside a commit nothing ends.
        assert_eq!(known.before(stream, Version(2)), Before::Head);
        known.learn(stream, Version(4), Version(4));
        known.learn(stream, Version(1), Version(3));
        assert_eq!(
            (known.before(stream, Version(4)), known.version(stream)),
            (Before::Commit(Version(4)), Some(Version(4)))
        );
        known.forget(stream);
        assert_eq!((known.before(stream, Version(4)), known.version(stream)), (Before::Head, None));
    }
}
