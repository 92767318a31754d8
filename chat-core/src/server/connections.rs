//! Who is connected, and how those who are learn that the server ends.
//!
//! Not a token that every connection waits on: each turn of each connection would take that token's one lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;

use crate::model::ConnectionId;
use crate::sync::{Mutex, MutexGuard};

/// How far a server is on the way to its end. Only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    /// Nobody new is let in; who is there is told to leave.
    Draining,
    /// Everything ends where it stands.
    Killed,
}

/// The open connections of a server.
#[derive(Debug)]
pub(super) struct Connections {
    phase: AtomicU8,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    last: u64,
    wakers: HashMap<ConnectionId, Arc<AtomicWaker>>,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Serving as u8),
            entries: Mutex::default(),
        }
    }

    /// Takes a connection in; `None` if there are `most` already.
    pub(super) fn register(self: &Arc<Self>, most: u32) -> Option<ConnectionGuard> {
        let mut entries = self.entries();
        if entries.wakers.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
            return None;
        }
        entries.last += 1;
        let id = ConnectionId(entries.last);
        let waker = Arc::new(AtomicWaker::new());
        entries.wakers.insert(id, Arc::clone(&waker));
        Some(ConnectionGuard {
            connections: Arc::clone(self),
            id,
            waker,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.entries().wakers.len()
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Killed,
        }
    }

    /// Goes on to `phase`, if it is not there yet, and wakes every connection.
    pub(super) fn advance(&self, phase: Phase) {
        if self.phase.fetch_max(phase as u8, Ordering::SeqCst) < phase as u8 {
            // Woken without the lock: a waker may run its task here and now, which may leave the connections.
            let wakers: Vec<_> = self.entries().wakers.values().map(Arc::clone).collect();
            wakers.iter().for_each(|waker| waker.wake());
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock()
    }
}

/// A connection's entry in the connections, from accept to close. For one task.
#[derive(Debug)]
pub(super) struct ConnectionGuard {
    connections: Arc<Connections>,
    id: ConnectionId,
    waker: Arc<AtomicWaker>,
}

impl ConnectionGuard {
    pub(super) const fn id(&self) -> ConnectionId {
        self.id
    }

    /// The phase; the task is woken when it changes.
    pub(super) fn poll_phase(&self, cx: &mut Context<'_>) -> Phase {
        self.waker.register(cx.waker());
        self.connections.phase()
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut entries = self.connections.entries();
        entries.wakers.remove(&self.id);
        // After a crowd has gone, what it took is given back.
        if entries.wakers.capacity() > 1024 && entries.wakers.len() < entries.wakers.capacity() / 4 {
            let half = entries.wakers.capacity() / 2;
            entries.wakers.shrink_to(half);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn those_on_the_roll_learn_of_every_phase_and_ids_are_new() {
        let connections = Arc::new(Connections::new());
        let first = connections.register(2).unwrap();
        let second = connections.register(2).unwrap();
        assert!(connections.register(2).is_none());
        let first_id = first.id();
        drop(first);
        let third = connections.register(2).unwrap();
        assert!(third.id() != first_id && third.id() != second.id());
        assert_eq!(connections.len(), 2);

        let waiting = tokio::spawn(std::future::poll_fn(move |cx| match third.poll_phase(cx) {
            Phase::Killed => Poll::Ready(()),
            Phase::Serving | Phase::Draining => Poll::Pending,
        }));
        tokio::task::yield_now().await;
        connections.advance(Phase::Draining);
        tokio::task::yield_now().await;
        connections.advance(Phase::Killed);
        waiting.await.unwrap();
        assert_eq!(connections.len(), 1);
        connections.advance(Phase::Draining);
        assert_eq!(connections.phase(), Phase::Killed, "it only grows");
    }
}
