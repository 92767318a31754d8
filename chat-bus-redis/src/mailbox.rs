//! What was heard and not yet taken, within bounds.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// Messages that wait. Beyond it, they are dropped and a gap says so.
const QUEUE: usize = 4096;
/// Bytes in them.
const QUEUED_BYTES: usize = 16 * 1024 * 1024;
/// Larger messages than this are not ours.
const MESSAGE: usize = 4 * 1024 * 1024;

/// What a listener yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BusEvent<T> {
    /// On the channel that goes by this name with us.
    Message(T, Bytes),
    /// Something may have been missed.
    Gap,
}

/// Between the connection, which must not wait, and whoever takes.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    state: Mutex<State<T>>,
    arrived: Notify,
}

#[derive(Debug)]
struct State<T> {
    /// Channels that are wanted, and what we call them.
    channels: HashMap<String, T>,
    queue: VecDeque<BusEvent<T>>,
    bytes: usize,
    is_closed: bool,
}

impl<T: Clone> Mailbox<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                channels: HashMap::new(),
                queue: VecDeque::new(),
                bytes: 0,
                is_closed: false,
            }),
            arrived: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wants this channel from now on. `false` once closed.
    pub(crate) fn want(&self, channel: String, name: T) -> bool {
        let mut state = self.state();
        if !state.is_closed {
            state.channels.insert(channel, name);
        }
        !state.is_closed
    }

    /// Wants it no more.
    pub(crate) fn forget(&self, channel: &str) {
        self.state().channels.remove(channel);
    }

    /// What is wanted.
    pub(crate) fn channels(&self) -> Vec<String> {
        self.state().channels.keys().cloned().collect()
    }

    /// Takes a message in. One of a channel that nobody wants is left out: an unsubscription may be on its way.
    pub(crate) fn deliver(&self, channel: &str, message: Vec<u8>) {
        let mut state = self.state();
        let Some(name) = state.channels.get(channel).cloned() else {
            return;
        };
        if message.len() > MESSAGE || state.is_closed {
            return;
        }
        if state.queue.len() >= QUEUE || state.bytes.saturating_add(message.len()) > QUEUED_BYTES {
            state.queue.clear();
            state.queue.push_back(BusEvent::Gap);
            state.bytes = 0;
        }
        state.bytes += message.len();
        state.queue.push_back(BusEvent::Message(name, message.into()));
        drop(state);
        self.arrived.notify_one();
    }

    /// Says that something may have been missed.
    pub(crate) fn gap(&self) {
        let mut state = self.state();
        if !matches!(state.queue.back(), Some(BusEvent::Gap)) {
            state.queue.push_back(BusEvent::Gap);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// The next; `None` once closed and empty. Cancel safe.
    pub(crate) async fn next(&self) -> Option<BusEvent<T>> {
        loop {
            {
                let mut state = self.state();
                if let Some(heard) = state.queue.pop_front() {
                    if let BusEvent::Message(_, message) = &heard {
                        state.bytes -= message.len();
                    }
                    return Some(heard);
                }
                if state.is_closed {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.arrived.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().is_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let mailbox = Mailbox::new();
        assert!(mailbox.want("a".into(), 1));
        mailbox.deliver("b", vec![0]);
        mailbox.deliver("a", vec![0; MESSAGE + 1]);
        for _ in 0..100 {
            mailbox.deliver("a", vec![0; 1024 * 1024]);
            assert!(mailbox.state().bytes <= QUEUED_BYTES);
        }
        assert_eq!(mailbox.next().await, Some(BusEvent::Gap));
        assert!(matches!(mailbox.next().await, Some(BusEvent::Message(1, _))));
        mailbox.state().queue.clear();
        mailbox.gap();
        mailbox.gap();
        mailbox.close();
        assert_eq!(mailbox.next().await, Some(BusEvent::Gap));
        assert_eq!(mailbox.next().await, None);
        assert!(!mailbox.want("c".into(), 2));
    }
}
