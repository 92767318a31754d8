//! The bounded queue between a Redis connection and the subscriber that reads it.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use chat_core::sync::Mutex;
use tokio::sync::Notify;

/// Number of queued events at which the queue is full. The next message then replaces them by a
/// gap.
const MAX_QUEUED_EVENTS: usize = 4096;
/// Maximum size of all queued messages together, in bytes.
const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;
/// Maximum size of a message, in bytes. A larger message is dropped without a gap, because no node
/// publishes one.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// An event that a listener receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BusEvent<T> {
    /// A message, with the id of its channel.
    Message(T, Bytes),
    /// Messages may have been lost.
    Gap,
}

/// A queue that the connection fills without waiting, and the channels whose messages it accepts.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    state: Mutex<State<T>>,
    /// Notified when an event is queued, or the mailbox is closed.
    changed: Notify,
}

#[derive(Debug)]
struct State<T> {
    /// Ids of the accepted channels, by channel name.
    channels: HashMap<String, T>,
    queue: VecDeque<BusEvent<T>>,
    /// Size of the queued messages, in bytes.
    queued_bytes: usize,
    is_closed: bool,
}

impl<T: Clone> Mailbox<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                channels: HashMap::new(),
                queue: VecDeque::new(),
                queued_bytes: 0,
                is_closed: false,
            }),
            changed: Notify::new(),
        }
    }

    /// Accepts messages of a channel. Returns `false` if the mailbox is closed.
    pub(crate) fn add_channel(&self, channel: String, id: T) -> bool {
        let mut state = self.state.lock();
        if !state.is_closed {
            state.channels.insert(channel, id);
        }
        !state.is_closed
    }

    /// Stops accepting messages of a channel.
    pub(crate) fn remove_channel(&self, channel: &str) {
        self.state.lock().channels.remove(channel);
    }

    /// Returns the accepted channels.
    pub(crate) fn channels(&self) -> Vec<String> {
        self.state.lock().channels.keys().cloned().collect()
    }

    /// Queues a message. If the queue is full, a gap replaces the events before it. Drops a message
    /// that is larger than [`MAX_MESSAGE_BYTES`], and one whose channel is not accepted, as happens
    /// while an unsubscription is under way. A closed mailbox drops every message.
    pub(crate) fn deliver(&self, channel: &str, message: Vec<u8>) {
        let mut state = self.state.lock();
        let Some(id) = state.channels.get(channel).cloned() else {
            return;
        };
        if message.len() > MAX_MESSAGE_BYTES || state.is_closed {
            return;
        }
        if state.queue.len() >= MAX_QUEUED_EVENTS || state.queued_bytes.saturating_add(message.len()) > MAX_QUEUED_BYTES
        {
            state.queue.clear();
            state.queue.push_back(BusEvent::Gap);
            state.queued_bytes = 0;
        }
        state.queued_bytes += message.len();
        state.queue.push_back(BusEvent::Message(id, message.into()));
        drop(state);
        self.changed.notify_one();
    }

    /// Queues a gap, unless the last queued event is one.
    pub(crate) fn push_gap(&self) {
        let mut state = self.state.lock();
        if !matches!(state.queue.back(), Some(BusEvent::Gap)) {
            state.queue.push_back(BusEvent::Gap);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Returns the next event, or `None` once the mailbox is closed and empty. Cancel safe.
    pub(crate) async fn next(&self) -> Option<BusEvent<T>> {
        loop {
            {
                let mut state = self.state.lock();
                if let Some(event) = state.queue.pop_front() {
                    if let BusEvent::Message(_, message) = &event {
                        state.queued_bytes -= message.len();
                    }
                    return Some(event);
                }
                if state.is_closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn mailbox_bounds_its_bytes_merges_gaps_and_ends_once_closed() {
        let mailbox = Mailbox::new();
        assert!(mailbox.add_channel("a".into(), 1));
        mailbox.deliver("b", vec![0]);
        mailbox.deliver("a", vec![0; MAX_MESSAGE_BYTES + 1]);
        assert!(mailbox.state.lock().queue.is_empty());
        for _ in 0..100 {
            mailbox.deliver("a", vec![0; 1024 * 1024]);
            assert!(mailbox.state.lock().queued_bytes <= MAX_QUEUED_BYTES);
        }
        assert_eq!(mailbox.next().await, Some(BusEvent::Gap));
        assert!(matches!(mailbox.next().await, Some(BusEvent::Message(1, _))));
        mailbox.state.lock().queue.clear();
        mailbox.push_gap();
        mailbox.push_gap();
        mailbox.close();
        assert_eq!(mailbox.next().await, Some(BusEvent::Gap));
        assert_eq!(mailbox.next().await, None);
        assert!(!mailbox.add_channel("c".into(), 2));
    }
}
