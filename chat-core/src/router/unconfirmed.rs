//! Commits whose outcome is unknown, because the store failed before it answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::event_log::MAX_CONVERSATIONS_PER_QUERY;
use crate::model::{ConversationId, Seq, UserId};
use crate::sync::Mutex;

/// Maximum time for which a log is checked after the store has answered again. After this time, the
/// store has ended the transactions of connections that were lost.
const GRACE_PERIOD: Duration = Duration::from_secs(10);
/// Maximum number of conversations that are checked. If there are more, every node compares
/// everything with the store.
const MAX_CONVERSATIONS: usize = 16 * MAX_CONVERSATIONS_PER_QUERY;

/// Events that may have been committed to a conversation: the store failed before it confirmed the
/// commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnconfirmedCommit {
    /// Conversation whose log may hold the events.
    pub conversation: ConversationId,
    /// `Seq` of the first event.
    pub first_seq: Seq,
    /// `Seq` of the last event.
    pub last_seq: Seq,
    /// Users who become members by these events, if they were committed.
    pub joined: Vec<UserId>,
}

/// Conversations with unconfirmed commits. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnconfirmedCommits {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_conversation: Mutex<BTreeMap<ConversationId, Unconfirmed>>,
    added: Notify,
}

/// The unconfirmed commits of one conversation.
#[derive(Debug)]
struct Unconfirmed {
    first_seq: Seq,
    last_seq: Seq,
    joined: BTreeSet<UserId>,
    /// `Seq` up to which the log's growth was announced.
    announced: Seq,
    /// Time of the store's first answer since the last commit was added; `None` if the store has
    /// not answered since then.
    checked_since: Option<Instant>,
}

/// Result of a check that has found a longer log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grown {
    /// Users who may have become members by the unconfirmed commits.
    pub(crate) joined: BTreeSet<UserId>,
}

impl Unconfirmed {
    fn new(first_seq: Seq, last_seq: Seq) -> Self {
        Self {
            first_seq,
            last_seq,
            joined: BTreeSet::new(),
            announced: Seq::ZERO,
            checked_since: None,
        }
    }

    /// Records the last `Seq` of the log. Returns whether the log has reached an unconfirmed commit
    /// and has grown since the last announcement; and whether its checks can end, because the
    /// outcome of all commits is known or [`GRACE_PERIOD`] has passed.
    fn check(&mut self, end: Seq) -> (bool, bool) {
        let since = *self.checked_since.get_or_insert_with(Instant::now);
        let is_news = end >= self.first_seq && end > self.announced;
        if is_news {
            self.announced = end;
        }
        // The store's lock of the conversation orders its commits: once the log reaches `last_seq`,
        // each unconfirmed commit has either written its events or been rolled back.
        (is_news, end >= self.last_seq || since.elapsed() > GRACE_PERIOD)
    }
}

impl UnconfirmedCommits {
    /// Adds a commit. Returns `false` if too many conversations have unconfirmed commits; then the
    /// commit is not tracked.
    pub(crate) fn add(&self, commit: UnconfirmedCommit) -> bool {
        let mut by_conversation = self.inner.by_conversation.lock();
        let has_room = by_conversation.len() < MAX_CONVERSATIONS || by_conversation.contains_key(&commit.conversation);
        if has_room {
            let known = by_conversation
                .entry(commit.conversation)
                .or_insert_with(|| Unconfirmed::new(commit.first_seq, commit.last_seq));
            known.first_seq = known.first_seq.min(commit.first_seq);
            known.last_seq = known.last_seq.max(commit.last_seq);
            known.joined.extend(commit.joined);
            known.checked_since = None;
        }
        drop(by_conversation);
        self.inner.added.notify_one();
        has_room
    }

    /// Waits until conversations have unconfirmed commits, and returns these conversations. Cancel
    /// safe; one task may wait at a time.
    pub(crate) async fn conversations(&self) -> Vec<ConversationId> {
        loop {
            let conversations: Vec<_> = self.inner.by_conversation.lock().keys().copied().collect();
            if !conversations.is_empty() {
                return conversations;
            }
            self.inner.added.notified().await;
        }
    }

    /// Records the last `Seq` of a conversation's log, and removes the conversation once its checks
    /// can end. Returns the growth that has to be announced, if any.
    pub(crate) fn check(&self, conversation: ConversationId, end: Seq) -> Option<Grown> {
        let mut by_conversation = self.inner.by_conversation.lock();
        let unconfirmed = by_conversation.get_mut(&conversation)?;
        let (is_news, can_end) = unconfirmed.check(end);
        let grown = is_news.then(|| Grown {
            joined: unconfirmed.joined.clone(),
        });
        if can_end {
            by_conversation.remove(&conversation);
        }
        grown
    }

    #[cfg(test)]
    pub(crate) fn conversation_count(&self) -> usize {
        self.inner.by_conversation.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn commit(first: u64, last: u64) -> UnconfirmedCommit {
        UnconfirmedCommit {
            conversation: ConversationId(1),
            first_seq: Seq(first),
            last_seq: Seq(last),
            joined: vec![UserId(7)],
        }
    }

    #[tokio::test(start_paused = true)]
    async fn commits_are_decided_once_the_log_reaches_them() {
        let commits = UnconfirmedCommits::default();
        commits.add(commit(5, 6));
        assert_eq!(commits.check(ConversationId(1), Seq(4)), None);
        let joined = BTreeSet::from([UserId(7)]);
        let grown = Some(Grown { joined });
        assert_eq!(commits.check(ConversationId(1), Seq(5)), grown);
        assert_eq!(
            commits.check(ConversationId(1), Seq(5)),
            None,
            "the same growth is reported once"
        );
        assert_eq!(commits.check(ConversationId(1), Seq(6)), grown);
        assert_eq!(commits.conversation_count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn commits_are_forgotten_after_the_grace_period() {
        let commits = UnconfirmedCommits::default();
        commits.add(commit(5, 6));
        advance(GRACE_PERIOD * 10).await;
        assert_eq!(commits.check(ConversationId(1), Seq(4)), None);
        assert_eq!(
            commits.conversation_count(),
            1,
            "the grace period starts at the first answer of the store"
        );
        advance(GRACE_PERIOD + Duration::from_millis(1)).await;
        assert_eq!(commits.check(ConversationId(1), Seq(4)), None);
        assert_eq!(commits.conversation_count(), 0);
    }
}
