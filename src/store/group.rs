//! Group commit: appends that come while one flush is waited for share the next.
//!
//! A flush costs the same for one append and for sixty. As databases do with their own log: Gawlick and Kinkade,
//! "Varieties of Concurrency Control in IMS/VS Fast Path" (1985).

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::append::{Failure, Outcome};
use crate::event::{Commit, StreamId, Version};

/// The most commits in one group.
const MOST_COMMITS: usize = 64;
/// A group takes no further commit when it has so many events.
const MOST_EVENTS: usize = 500;
/// Nor when they have so many bytes: RethinkDB takes no query over 64 MiB, and a commit may have 16.
const MOST_BYTES: usize = 4 << 20;

/// One append, on its way to a group.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) stream: StreamId,
    pub(super) at: Version,
    pub(super) commit: Commit,
    bytes: usize,
    answer: oneshot::Sender<Result<Outcome, Failure>>,
}

impl Append {
    /// The caller may have given up meanwhile; that is its affair.
    pub(super) fn answer(self, found: Result<Outcome, Failure>) {
        let _ = self.answer.send(found);
    }
}

/// The appends that wait, and turns to take them.
#[derive(Debug)]
pub(super) struct Group {
    waiting: Mutex<VecDeque<Append>>,
    turns: Arc<Semaphore>,
}

impl Group {
    /// So many groups at once are under way; what comes meanwhile waits, and goes together.
    pub(super) fn of(turns: usize) -> Self {
        Self { waiting: Mutex::default(), turns: Arc::new(Semaphore::new(turns)) }
    }

    /// What comes of an append. `together` is called with it, and with whatever else waits by then, and answers each.
    pub(super) async fn append<T, F>(
        self: &Arc<Self>,
        stream: StreamId,
        at: Version,
        commit: Commit,
        together: T,
    ) -> Result<Outcome, Failure>
    where
        T: Fn(Vec<Append>) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (answer, found) = oneshot::channel();
        let bytes = commit.bytes();
        self.waiting().push_back(Append { stream, at, commit, bytes, answer });
        if let Some(turn) = self.take_turn() {
            // A task of its own: what others wait for does not end with a caller that gives up.
            tokio::spawn(work(Arc::clone(self), turn, together));
        }
        // Whether it was applied is not known then; the next try finds out.
        let broke_off = Failure { reason: "the group that it was a part of broke off".into(), retry: true };
        found.await.unwrap_or(Err(broke_off))
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Append>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).try_acquire_owned().ok()
    }

    /// Those that the next group takes, without those that nobody waits for any more.
    fn next(&self) -> Vec<Append> {
        let mut waiting = self.waiting();
        let (mut next, mut events, mut bytes) = (Vec::new(), 0, 0);
        while next.len() < MOST_COMMITS && events < MOST_EVENTS && bytes < MOST_BYTES {
            let Some(append) = waiting.pop_front() else { break };
            if !append.answer.is_closed() {
                events += append.commit.events.len();
                bytes += append.bytes;
                next.push(append);
            }
        }
        next
    }
}

/// Takes what waits, group after group, until nothing does.
async fn work<T, F>(group: Arc<Group>, mut turn: OwnedSemaphorePermit, together: T)
where
    T: Fn(Vec<Append>) -> F,
    F: Future<Output = ()>,
{
    loop {
        let mut appends = group.next();
        while !appends.is_empty() {
            together(appends).await;
            appends = group.next();
        }
        drop(turn);
        // Who came between the last look and the end of the turn found it taken.
        if group.waiting().is_empty() {
            return;
        }
        match group.take_turn() {
            Some(again) => turn = again,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use tokio::sync::Semaphore;
    use tokio::time::timeout;

    use super::*;
    use crate::event::NewEvent;

    /// Transactions that end when they are let, and how many commits each had.
    struct Transactions {
        let_through: Semaphore,
        sizes: Mutex<Vec<usize>>,
    }

    impl Default for Transactions {
        fn default() -> Self {
            Self { let_through: Semaphore::new(0), sizes: Mutex::default() }
        }
    }

    async fn append(group: Arc<Group>, transactions: Arc<Transactions>) -> Result<Outcome, Failure> {
        let commit = Commit::new("order", vec![NewEvent::new("Made", &json!({})).unwrap()]);
        let together = move |appends: Vec<Append>| {
            let transactions = Arc::clone(&transactions);
            async move {
                transactions.sizes.lock().unwrap().push(appends.len());
                transactions.let_through.acquire().await.unwrap().forget();
                appends.into_iter().for_each(|append| append.answer(Ok(Outcome::Appended)));
            }
        };
        group.append(StreamId::random(), Version::ZERO, commit, together).await
    }

    async fn until(done: impl Fn() -> bool) {
        let wait = async {
            while !done() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), wait).await.expect("within ten seconds");
    }

    #[tokio::test]
    async fn what_waits_shares_the_next_transaction() {
        let (group, transactions) = (Arc::new(Group::of(1)), Arc::<Transactions>::default());
        let first = tokio::spawn(append(Arc::clone(&group), Arc::clone(&transactions)));
        until(|| transactions.sizes.lock().unwrap().len() == 1).await;
        let others: Vec<_> =
            (0..100).map(|_| tokio::spawn(append(Arc::clone(&group), Arc::clone(&transactions)))).collect();
        until(|| group.waiting().len() == 100).await;
        // One who gives up before its turn comes is not appended.
        others[7].abort();
        until(|| others[7].is_finished()).await;
        transactions.let_through.add_permits(3);
        assert!(matches!(first.await.unwrap(), Ok(Outcome::Appended)));
        for (nth, other) in others.into_iter().enumerate().filter(|(nth, _)| *nth != 7) {
            assert!(matches!(other.await.unwrap(), Ok(Outcome::Appended)), "{nth}");
        }
        assert_eq!(*transactions.sizes.lock().unwrap(), [1, MOST_COMMITS, 99 - MOST_COMMITS]);
    }

    #[tokio::test]
    async fn a_transaction_goes_on_when_its_first_caller_gives_up_and_one_that_breaks_off_is_tried_again() {
        let (group, transactions) = (Arc::new(Group::of(1)), Arc::<Transactions>::default());
        let first = tokio::spawn(append(Arc::clone(&group), Arc::clone(&transactions)));
        until(|| transactions.sizes.lock().unwrap().len() == 1).await;
        first.abort();
        let second = tokio::spawn(append(Arc::clone(&group), Arc::clone(&transactions)));
        transactions.let_through.add_permits(2);
        assert!(matches!(second.await.unwrap(), Ok(Outcome::Appended)));

        let commit = Commit::new("order", vec![NewEvent::new("Made", &json!({})).unwrap()]);
        let breaks_off = |appends: Vec<Append>| async move { drop(appends) };
        let found = group.append(StreamId::random(), Version::ZERO, commit, breaks_off).await;
        assert!(found.unwrap_err().retry);
        let third = append(Arc::clone(&group), Arc::clone(&transactions));
        transactions.let_through.add_permits(1);
        assert!(matches!(third.await, Ok(Outcome::Appended)));
    }
}
