//! A deduplicating work set, and the loop that drains it with bounded concurrency and a back-off
//! for each item.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::future::{pending, poll_fn};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;
use tokio_util::time::{DelayQueue, delay_queue};

use crate::panics::{self, Failure};
use crate::sync::Mutex;

/// Size of the set at which [`WorkSet::try_add`] refuses new items. The items come from other
/// nodes, whose announcements may be forged.
const MAX_UNTRUSTED: usize = 1 << 17;

/// A set of items that one worker drains: an item that is added several times before the worker
/// takes it is worked on once. Clones share the set.
#[derive(Debug)]
pub(crate) struct WorkSet<T> {
    inner: Arc<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    items: Mutex<HashSet<T>>,
    added: Notify,
}

impl<T> Clone for WorkSet<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<T> Default for WorkSet<T> {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                items: Mutex::new(HashSet::new()),
                added: Notify::new(),
            }),
        }
    }
}

impl<T: Eq + Hash> WorkSet<T> {
    /// Adds an item that originates on this node, or that concerns one of its sessions. Such items
    /// are never refused, because other nodes cannot make their number arbitrarily large.
    pub(crate) fn add(&self, item: T) {
        self.inner.items.lock().insert(item);
        self.inner.added.notify_one();
    }

    /// Adds several items at once, as [`add`](Self::add) does.
    pub(crate) fn add_all(&self, items: impl IntoIterator<Item = T>) {
        self.inner.items.lock().extend(items);
        self.inner.added.notify_one();
    }

    /// Adds an item that comes from an announcement of a peer. Returns `false` if the set is full.
    pub(crate) fn try_add(&self, item: T) -> bool {
        let mut items = self.inner.items.lock();
        let has_room = items.len() < MAX_UNTRUSTED || items.contains(&item);
        if has_room {
            items.insert(item);
        }
        drop(items);
        self.inner.added.notify_one();
        has_room
    }

    /// Waits until there are items and takes all of them.
    ///
    /// Cancel safe: a call that is dropped has taken nothing.
    pub(crate) async fn take(&self) -> HashSet<T> {
        loop {
            let items = std::mem::take(&mut *self.inner.items.lock());
            if !items.is_empty() {
                return items;
            }
            self.inner.added.notified().await;
        }
    }
}

/// Options of a worker that drains a [`WorkSet`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkerOptions {
    /// Maximum number of items in progress at the same time.
    pub(crate) max_concurrent: usize,
    /// Delay before a failed item is retried. Doubles with each failure, up to ten times this
    /// value. Other items do not wait meanwhile.
    pub(crate) retry_interval: Duration,
    /// Name of the task in the log: a verb with its object.
    pub(crate) task: &'static str,
}

impl WorkerOptions {
    /// Logs that an item has failed. A panic is a defect, so it is logged as an error.
    fn log_failure<E: std::error::Error + 'static>(&self, item: impl Debug, failure: &Failure<E>) {
        match failure {
            Failure::Error(error) => {
                let error = error as &dyn std::error::Error;
                tracing::warn!(?item, error, "cannot {}; retrying", self.task);
            }
            Failure::Panic(panic) => {
                tracing::error!(
                    ?item,
                    panic = panic.text(),
                    "cannot {}: the work panicked; retrying",
                    self.task
                );
            }
        }
    }
}

impl<T: Copy + Debug + Eq + Hash> WorkSet<T> {
    /// Calls `work` with every item that is added, and never returns. An item is never in progress
    /// twice at the same time; if it is added while it is in progress, it is worked on again
    /// afterwards. Work that panics has failed, like work that returns an error.
    pub(crate) async fn drain_forever<E, F>(&self, options: WorkerOptions, work: impl Fn(T) -> F)
    where
        E: std::error::Error + 'static,
        F: Future<Output = Result<(), E>>,
    {
        let work = &work;
        let mut queue: VecDeque<T> = VecDeque::new();
        let mut running = FuturesUnordered::new();
        let mut in_progress: HashSet<T> = HashSet::new();
        let mut added_meanwhile: HashSet<T> = HashSet::new();
        let mut retries = Retries::new(options.retry_interval);
        loop {
            while running.len() < options.max_concurrent {
                let Some(item) = queue.pop_front() else { break };
                if retries.shorten_wait(item) {
                    continue;
                }
                if in_progress.insert(item) {
                    running.push(async move { (item, panics::contain(async { work(item).await }).await) });
                } else {
                    added_meanwhile.insert(item);
                }
            }
            tokio::select! {
                // Finished items are handled first, because they make room for new items.
                biased;
                Some((item, result)) = running.next() => {
                    in_progress.remove(&item);
                    let was_added_again = added_meanwhile.remove(&item);
                    match result {
                        Ok(()) => {
                            retries.succeeded(&item);
                            queue.extend(was_added_again.then_some(item));
                        }
                        Err(error) => {
                            if retries.failed(item) {
                                options.log_failure(item, &error);
                            }
                        }
                    }
                }
                item = retries.next() => queue.push_back(item),
                items = self.take(), if queue.is_empty() => queue.extend(items),
            }
        }
    }
}

/// Items that have failed, with the timers of those that wait to be retried. An item has at most
/// one timer at a time.
#[derive(Debug)]
struct Retries<T> {
    interval: Duration,
    /// Delays of the items that have not succeeded since they failed.
    delays: HashMap<T, Duration>,
    /// Items that wait, with their keys in `timers`.
    waiting: HashMap<T, delay_queue::Key>,
    timers: DelayQueue<T>,
}

impl<T: Copy + Eq + Hash> Retries<T> {
    fn new(interval: Duration) -> Self {
        Self {
            interval,
            delays: HashMap::new(),
            waiting: HashMap::new(),
            timers: DelayQueue::new(),
        }
    }

    /// Lets an item wait for its next attempt. Returns whether this is its first failure in a row.
    fn failed(&mut self, item: T) -> bool {
        let max = self.interval * 10;
        let last = self.delays.get(&item).copied();
        let delay = last.map_or(self.interval, |delay| (delay * 2).min(max));
        self.delays.insert(item, delay);
        self.waiting.insert(item, self.timers.insert(item, delay));
        last.is_none()
    }

    fn succeeded(&mut self, item: &T) {
        self.delays.remove(item);
    }

    /// Makes an item that was added again wait for its next attempt for one interval at most,
    /// because there is something new to work on. Returns `false` if the item does not wait.
    fn shorten_wait(&mut self, item: T) -> bool {
        let Some(key) = self.waiting.get(&item) else {
            return false;
        };
        if self.delays.insert(item, self.interval) > Some(self.interval) {
            self.timers.reset(key, self.interval);
        }
        true
    }

    /// Returns the next item whose time to wait has passed; waits forever while no item waits.
    ///
    /// Cancel safe: a call that is dropped has taken nothing.
    async fn next(&mut self) -> T {
        let Some(expired) = poll_fn(|cx| self.timers.poll_expired(cx)).await else {
            return pending().await;
        };
        let item = expired.into_inner();
        self.waiting.remove(&item);
        item
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const OPTIONS: WorkerOptions = WorkerOptions {
        max_concurrent: 2,
        retry_interval: Duration::from_millis(100),
        task: "test",
    };

    #[tokio::test]
    async fn work_set_bounds_items_from_peers_and_keeps_all_own_items() {
        let set = WorkSet::default();
        set.add_all(0..300_000_u32);
        assert_eq!(set.take().await.len(), 300_000);
        for item in 0..=MAX_UNTRUSTED as u32 {
            assert_eq!(set.try_add(item), item < MAX_UNTRUSTED as u32);
        }
        assert!(set.try_add(7), "item 7 is in the set already");
        set.add(u32::MAX);
        assert_eq!(set.take().await.len(), MAX_UNTRUSTED + 1);
    }

    async fn drain_for<F>(set: &WorkSet<u32>, seconds: u64, work: impl Fn(u32) -> F)
    where
        F: Future<Output = Result<(), std::fmt::Error>>,
    {
        let _ = tokio::time::timeout(Duration::from_secs(seconds), set.drain_forever(OPTIONS, work)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn worker_retries_failed_items_until_they_succeed() {
        let set = WorkSet::default();
        set.add_all(0..100);
        let (failures, successes) = (AtomicU32::new(0), AtomicU32::new(0));
        drain_for(&set, 10, |item| {
            let failed = item < 10 && failures.fetch_add(1, Ordering::Relaxed) < 30;
            successes.fetch_add(u32::from(!failed), Ordering::Relaxed);
            async move { if failed { Err(std::fmt::Error) } else { Ok(()) } }
        })
        .await;
        assert_eq!(successes.into_inner(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn worker_bounds_the_attempts_of_an_item_that_is_added_while_it_fails() {
        let set = WorkSet::default();
        let attempts = AtomicU32::new(0);
        let adding = async {
            for _ in 0..900 {
                set.add(1);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let draining = drain_for(&set, 10, |_| {
            attempts.fetch_add(1, Ordering::Relaxed);
            async { Err(std::fmt::Error) }
        });
        futures_util::join!(adding, draining);
        let attempts = attempts.into_inner();
        assert!((80..=100).contains(&attempts), "one attempt in 100 ms: {attempts}");
    }

    #[tokio::test(start_paused = true)]
    async fn worker_continues_after_panics_and_retries_their_items() {
        let set = WorkSet::default();
        set.add_all(0..100);
        let (panics, successes) = (AtomicU32::new(0), AtomicU32::new(0));
        drain_for(&set, 10, |item| {
            assert!(
                item != 3 || panics.fetch_add(1, Ordering::Relaxed) > 0,
                "panics before it returns a future"
            );
            let (panics, successes) = (&panics, &successes);
            async move {
                assert!(
                    item != 4 || panics.fetch_add(1, Ordering::Relaxed) > 2,
                    "panics in its future"
                );
                successes.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        })
        .await;
        assert_eq!(successes.into_inner(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn worker_continues_while_one_item_hangs() {
        let set = WorkSet::default();
        set.add_all(0..100);
        let successes = AtomicU32::new(0);
        drain_for(&set, 10, |item| {
            let successes = &successes;
            async move {
                if item == 3 {
                    std::future::pending::<()>().await;
                }
                successes.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        })
        .await;
        assert_eq!(successes.into_inner(), 99);
    }

    #[tokio::test(start_paused = true)]
    async fn worker_repeats_an_item_added_in_progress_and_never_runs_it_twice_at_once() {
        let set = WorkSet::default();
        set.add(1);
        let (running, runs) = (AtomicU32::new(0), AtomicU32::new(0));
        drain_for(&set, 10, |item| {
            let (set, running, runs) = (&set, &running, &runs);
            async move {
                assert_eq!(running.fetch_add(1, Ordering::Relaxed), 0);
                if runs.fetch_add(1, Ordering::Relaxed) < 5 {
                    set.add(item);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                running.fetch_sub(1, Ordering::Relaxed);
                Ok(())
            }
        })
        .await;
        assert_eq!(runs.into_inner(), 6);
    }
}
