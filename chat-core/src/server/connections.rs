//! Registry of open connections, and how shutdown is signalled to them.
//!
//! The signal consists of one atomic, which all connections read, and of a waker for each
//! connection. A cancellation token would work too, but each poll of each connection would take the
//! token's single lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;

use crate::model::ConnectionId;
use crate::sync::{Mutex, MutexGuard};

/// Phase of a server's life. It only advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    /// The listeners accept no new connections, and the clients of open ones are asked to
    /// reconnect.
    Draining,
    /// All connections end at once.
    Killed,
}

/// Registry of a server's open connections.
#[derive(Debug)]
pub(super) struct Connections {
    phase: AtomicU8,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    last_id: u64,
    wakers: HashMap<ConnectionId, Arc<AtomicWaker>>,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Serving as u8),
            entries: Mutex::default(),
        }
    }

    /// Registers a connection, or returns `None` if there are `max_connections` already.
    pub(super) fn register(self: &Arc<Self>, max_connections: u32) -> Option<ConnectionGuard> {
        let mut entries = self.entries();
        if entries.wakers.len() >= usize::try_from(max_connections).unwrap_or(usize::MAX) {
            return None;
        }
        entries.last_id += 1;
        let id = ConnectionId(entries.last_id);
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

    /// Advances to `phase` and wakes every connection. Has no effect if the server has reached this
    /// phase or a later one.
    pub(super) fn advance(&self, phase: Phase) {
        if self.phase.fetch_max(phase as u8, Ordering::SeqCst) < phase as u8 {
            // The lock is released before the wakers are called: a waker may run its task at once,
            // and the task may end and remove itself from the registry.
            let wakers: Vec<_> = self.entries().wakers.values().map(Arc::clone).collect();
            wakers.iter().for_each(|waker| waker.wake());
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock()
    }
}

/// A connection's entry in the registry, from accept to close. Dropping it removes the entry.
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

    /// Returns the server's phase, and wakes the task of `cx` when the phase advances. Only the
    /// last task that polled is woken.
    pub(super) fn poll_phase(&self, cx: &mut Context<'_>) -> Phase {
        self.waker.register(cx.waker());
        self.connections.phase()
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut entries = self.connections.entries();
        entries.wakers.remove(&self.id);
        // Releases memory after a peak in the number of connections.
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
    async fn registry_gives_new_ids_and_wakes_killed_connections() {
        let connections = Arc::new(Connections::new());
        let first = connections.register(2).unwrap();
        let second = connections.register(2).unwrap();
        assert!(connections.register(2).is_none());
        let first_id = first.id();
        drop(first);
        let third = connections.register(2).unwrap();
        assert!(third.id() != first_id && third.id() != second.id());
        assert_eq!(connections.len(), 2);

        let killed = tokio::spawn(std::future::poll_fn(move |cx| match third.poll_phase(cx) {
            Phase::Killed => Poll::Ready(()),
            Phase::Serving | Phase::Draining => Poll::Pending,
        }));
        tokio::task::yield_now().await;
        connections.advance(Phase::Draining);
        tokio::task::yield_now().await;
        connections.advance(Phase::Killed);
        killed.await.unwrap();
        assert_eq!(connections.len(), 1);
        connections.advance(Phase::Draining);
        assert_eq!(connections.phase(), Phase::Killed, "phases only advance");
    }
}
