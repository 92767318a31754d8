//! Things to be looked at, each once however often it is asked for, and the loop that looks at them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;

/// Most things that wait while others may still claim more. What this node knows of itself is never refused: it is bounded by what
/// there is on the node.
const MOST: usize = 1 << 17;

/// A set that one task empties.
#[derive(Debug)]
pub(super) struct Pending<T> {
    items: Mutex<HashSet<T>>,
    added: Notify,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self {
            items: Mutex::new(HashSet::new()),
            added: Notify::new(),
        }
    }
}

impl<T: Eq + Hash> Pending<T> {
    pub(super) fn add(&self, item: T) {
        self.add_all([item]);
    }

    pub(super) fn add_all(&self, items: impl IntoIterator<Item = T>) {
        let mut waiting = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(items);
        drop(waiting);
        self.added.notify_one();
    }

    /// Adds what somebody else claims. `false` if there is no room.
    pub(super) fn add_claimed(&self, item: T) -> bool {
        let mut waiting = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = waiting.len() < MOST || waiting.contains(&item);
        if has_room {
            waiting.insert(item);
        }
        drop(waiting);
        self.added.notify_one();
        has_room
    }

    /// Waits for something to do and takes all of it.
    ///
    /// Cancel safe: nothing is taken before it is returned.
    pub(super) async fn take(&self) -> HashSet<T> {
        loop {
            let items = std::mem::take(&mut *self.items.lock().unwrap_or_else(PoisonError::into_inner));
            if !items.is_empty() {
                return items;
            }
            self.added.notified().await;
        }
    }
}

/// How the items of a [`Pending`] are worked on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Items that are worked on at the same time.
    pub(super) at_once: usize,
    /// Wait before an item that failed is tried again; doubles up to ten times of this. Others do not wait with it.
    pub(super) retry: Duration,
    /// Named in the log.
    pub(super) what: &'static str,
}

/// Works on whatever is added, for ever. An item is not worked on twice at the same time; one that was added while it was is
/// worked on again.
pub(super) async fn work<T, E, F>(pending: &Pending<T>, pace: Pace, task: impl Fn(T) -> F)
where
    T: Copy + Debug + Eq + Hash,
    E: std::error::Error + 'static,
    F: Future<Output = Result<(), E>>,
{
    let mut queue: VecDeque<T> = VecDeque::new();
    let mut running = FuturesUnordered::new();
    let mut busy: HashSet<T> = HashSet::new();
    let mut again: HashSet<T> = HashSet::new();
    let mut sleeping = FuturesUnordered::new();
    let mut waits: HashMap<T, Duration> = HashMap::new();
    loop {
        while running.len() < pace.at_once {
            let Some(item) = queue.pop_front() else { break };
            if busy.insert(item) {
                let task = task(item);
                running.push(async move { (item, task.await) });
            } else {
                again.insert(item);
            }
        }
        tokio::select! {
            // What ends makes room for what begins.
            biased;
            Some((item, result)) = running.next() => {
                busy.remove(&item);
                let repeat = again.remove(&item);
                match result {
                    Ok(()) => {
                        waits.remove(&item);
                        queue.extend(repeat.then_some(item));
                    }
                    Err(error) => {
                        let wait = waits.get(&item).map_or(pace.retry, |wait| (*wait * 2).min(pace.retry * 10));
                        if waits.insert(item, wait).is_none() {
                            let error = &error as &dyn std::error::Error;
                            tracing::warn!(?item, error, "cannot {}; trying again", pace.what);
                        }
                        sleeping.push(async move {
                            tokio::time::sleep(wait).await;
                            item
                        });
                    }
                }
            }
            Some(item) = sleeping.next() => queue.push_back(item),
            items = pending.take(), if queue.is_empty() => queue.extend(items),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const PACE: Pace = Pace {
        at_once: 2,
        retry: Duration::from_millis(100),
        what: "test",
    };

    #[tokio::test]
    async fn what_the_node_adds_itself_is_never_dropped_and_what_others_claim_is_bounded() {
        let pending = Pending::default();
        pending.add_all(0..300_000_u32);
        assert_eq!(pending.take().await.len(), 300_000);
        for item in 0..=MOST as u32 {
            assert_eq!(pending.add_claimed(item), item < MOST as u32);
        }
        assert!(pending.add_claimed(7), "it waits already");
        pending.add(u32::MAX);
        assert_eq!(pending.take().await.len(), MOST + 1);
    }

    async fn worked<F>(pending: &Pending<u32>, seconds: u64, task: impl Fn(u32) -> F)
    where
        F: Future<Output = Result<(), std::fmt::Error>>,
    {
        let _ = tokio::time::timeout(Duration::from_secs(seconds), work(pending, PACE, task)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_again_and_nothing_waits_for_it() {
        let pending = Pending::default();
        pending.add_all(0..100);
        let (failures, successes) = (AtomicU32::new(0), AtomicU32::new(0));
        worked(&pending, 10, |item| {
            let failed = item < 10 && failures.fetch_add(1, Ordering::Relaxed) < 30;
            successes.fetch_add(u32::from(!failed), Ordering::Relaxed);
            async move { if failed { Err(std::fmt::Error) } else { Ok(()) } }
        })
        .await;
        assert_eq!(successes.into_inner(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_leaves_room_for_the_others() {
        let pending = Pending::default();
        pending.add_all(0..100);
        let successes = AtomicU32::new(0);
        worked(&pending, 10, |item| {
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
    async fn what_is_added_meanwhile_is_worked_on_again_and_never_twice_at_once() {
        let pending = Pending::default();
        pending.add(1);
        let (running, runs) = (AtomicU32::new(0), AtomicU32::new(0));
        worked(&pending, 10, |item| {
            let (pending, running, runs) = (&pending, &running, &runs);
            async move {
                assert_eq!(running.fetch_add(1, Ordering::Relaxed), 0);
                if runs.fetch_add(1, Ordering::Relaxed) < 5 {
                    pending.add(item);
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
