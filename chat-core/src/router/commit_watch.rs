//! Watches of all commits, for event feeds, which read logs without a session.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::Notify;

use crate::model::{ConversationId, Seq, UserId};
use crate::sync::{Mutex, RwLock};

/// Maximum number of grown and of joined conversations, together, that a watch remembers between
/// two reads.
const MAX_CONVERSATIONS: usize = 16 * 1024;

/// Possible changes of logs and memberships since a watch was last read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Conversations whose logs may have grown, each with the last known `Seq`.
    pub(crate) grown: HashMap<ConversationId, Seq>,
    /// Conversations that the user of the watch may have joined.
    pub(crate) joined: HashSet<ConversationId>,
    /// True if logs may have grown without an announcement to this node, or if news did not fit.
    pub(crate) may_be_incomplete: bool,
}

impl News {
    fn is_empty(&self) -> bool {
        self.grown.is_empty() && self.joined.is_empty() && !self.may_be_incomplete
    }

    fn has_room(&self) -> bool {
        self.grown.len() + self.joined.len() < MAX_CONVERSATIONS
    }
}

/// The watches of a node. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommitWatches {
    watches: Arc<RwLock<Vec<Arc<WatchState>>>>,
}

/// State of one watch, to which commits are reported.
#[derive(Debug)]
struct WatchState {
    /// User whose joins are reported; `None` if no joins are reported.
    user: Option<UserId>,
    news: Mutex<News>,
    changed: Notify,
}

impl WatchState {
    fn update(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.news.lock());
        self.changed.notify_one();
    }
}

impl CommitWatches {
    /// Adds a watch of all logs and, if `user` is given, of the joins of this user.
    pub(crate) fn watch(&self, user: Option<UserId>) -> CommitWatch {
        let state = Arc::new(WatchState {
            user,
            news: Mutex::default(),
            changed: Notify::new(),
        });
        self.watches.write().push(Arc::clone(&state));
        CommitWatch {
            state,
            watches: self.clone(),
        }
    }

    /// Records that a log reaches `last_seq`. Never waits.
    pub(crate) fn grown(&self, conversation: ConversationId, last_seq: Seq) {
        for state in &*self.watches.read() {
            state.update(|news| {
                if news.has_room() || news.grown.contains_key(&conversation) {
                    let known = news.grown.entry(conversation).or_insert(last_seq);
                    *known = last_seq.max(*known);
                } else {
                    news.may_be_incomplete = true;
                }
            });
        }
    }

    /// Records that a user may have joined a conversation.
    pub(crate) fn joined(&self, user: UserId, conversation: ConversationId) {
        for state in &*self.watches.read() {
            if state.user == Some(user) {
                state.update(|news| {
                    if news.has_room() {
                        news.joined.insert(conversation);
                    } else {
                        news.may_be_incomplete = true;
                    }
                });
            }
        }
    }

    /// Records that logs may have grown without an announcement.
    pub(crate) fn mark_incomplete(&self) {
        for state in &*self.watches.read() {
            state.update(|news| news.may_be_incomplete = true);
        }
    }
}

/// A watch of all logs, which reports the commits of this node at once, and those of other nodes
/// when a doorbell or a heartbeat that repeats it arrives. Its memory is bounded: if some news does
/// not fit, the news that it reports is marked as [incomplete](News::may_be_incomplete). The watch
/// ends when it is dropped.
#[derive(Debug)]
pub(crate) struct CommitWatch {
    state: Arc<WatchState>,
    watches: CommitWatches,
}

impl CommitWatch {
    /// Waits until there is news, and returns it. Cancel safe: no news is lost.
    pub(crate) async fn news(&self) -> News {
        loop {
            let news = std::mem::take(&mut *self.state.news.lock());
            if !news.is_empty() {
                return news;
            }
            self.state.changed.notified().await;
        }
    }
}

impl Drop for CommitWatch {
    fn drop(&mut self) {
        let mut watches = self.watches.watches.write();
        watches.retain(|other| !Arc::ptr_eq(other, &self.state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn watch_merges_news_of_a_conversation_and_reports_only_joins_of_its_user() {
        let watches = CommitWatches::default();
        let watch = watches.watch(Some(UserId(1)));
        for seq in [2, 3, 1] {
            watches.grown(ConversationId(7), Seq(seq));
        }
        watches.joined(UserId(1), ConversationId(8));
        watches.joined(UserId(2), ConversationId(9));
        let news = watch.news().await;
        assert_eq!(news.grown, HashMap::from([(ConversationId(7), Seq(3))]));
        assert_eq!(news.joined, HashSet::from([ConversationId(8)]));
        assert!(!news.may_be_incomplete);
    }

    #[tokio::test]
    async fn watch_is_incomplete_after_more_news_than_it_keeps() {
        let watches = CommitWatches::default();
        let watch = watches.watch(None);
        for id in 0..=MAX_CONVERSATIONS as u64 {
            watches.grown(ConversationId(id), Seq(1));
        }
        let news = watch.news().await;
        assert_eq!((news.grown.len(), news.may_be_incomplete), (MAX_CONVERSATIONS, true));
        drop(watch);
        assert!(watches.watches.read().is_empty(), "a dropped watch has ended");
    }
}
