//! Commits of which the store did not say whether they happened. Nobody rings for them; so their logs are looked at until it is
//! known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::envelope::Doorbell;
use super::shared::Shared;
use crate::model::{ConversationId, Seq, UserId};

/// How long a log is looked at after the store answers again. A transaction that nobody waits for has ended by then.
const LINGER: Duration = Duration::from_secs(10);
/// Conversations whose ends are asked for at once.
const AT_ONCE: usize = 1000;
/// Most conversations that are looked at. Of more, everything is compared with the store.
const MOST: usize = 16 * AT_ONCE;

/// What may have been committed to a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnconfirmedCommit {
    /// Conversation that may have grown.
    pub conversation: ConversationId,
    /// The first event of it.
    pub first_seq: Seq,
    /// The last.
    pub last_seq: Seq,
    /// Users who became members by it.
    pub joined: Vec<UserId>,
}

#[derive(Debug, Default)]
pub(super) struct Doubts {
    open: Mutex<BTreeMap<ConversationId, Open>>,
    added: Notify,
}

#[derive(Debug)]
struct Open {
    first_seq: Seq,
    last_seq: Seq,
    joined: BTreeSet<UserId>,
    /// Up to where the other nodes were told.
    told: Seq,
    /// When the store was first able to say.
    looked: Option<Instant>,
}

impl Open {
    fn new(first_seq: Seq, last_seq: Seq) -> Self {
        Self {
            first_seq,
            last_seq,
            joined: BTreeSet::new(),
            told: Seq::ZERO,
            looked: None,
        }
    }

    /// Takes in where the log ends. Yields whether there is news, and whether it is all that can come.
    fn look(&mut self, end: Seq) -> (bool, bool) {
        let looked = *self.looked.get_or_insert_with(Instant::now);
        let news = end >= self.first_seq && end > self.told;
        if news {
            self.told = end;
        }
        // What has that place was committed under the same lock: nothing of the other can follow.
        (news, end >= self.last_seq || looked.elapsed() > LINGER)
    }
}

impl Doubts {
    /// `false` if there is no room.
    pub(super) fn add(&self, doubt: UnconfirmedCommit) -> bool {
        let mut open = self.open();
        let has_room = open.len() < MOST || open.contains_key(&doubt.conversation);
        if has_room {
            let known = open
                .entry(doubt.conversation)
                .or_insert_with(|| Open::new(doubt.first_seq, doubt.last_seq));
            known.first_seq = known.first_seq.min(doubt.first_seq);
            known.last_seq = known.last_seq.max(doubt.last_seq);
            known.joined.extend(doubt.joined);
            known.looked = None;
        }
        drop(open);
        self.added.notify_one();
        has_room
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.open().len()
    }

    fn conversations(&self) -> Vec<ConversationId> {
        self.open().keys().copied().collect()
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<ConversationId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at what is in doubt, until nothing is.
pub(super) async fn run(shared: &Shared) {
    loop {
        let conversations = shared.doubts.conversations();
        if conversations.is_empty() {
            shared.doubts.added.notified().await;
            continue;
        }
        for chunk in conversations.chunks(AT_ONCE) {
            match shared.read(shared.store.last_seqs(chunk)).await {
                Ok(ends) => {
                    let ends: BTreeMap<_, _> = ends.into_iter().map(|(id, last_seq, _)| (id, last_seq)).collect();
                    for id in chunk {
                        look(shared, *id, ends.get(id).copied().unwrap_or(Seq::ZERO));
                    }
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(error, "cannot look for what may have been committed; trying again");
                }
            }
        }
        sleep(shared.config.poll_interval).await;
    }
}

fn look(shared: &Shared, conversation: ConversationId, last_seq: Seq) {
    let mut open = shared.doubts.open();
    let Some(doubt) = open.get_mut(&conversation) else {
        return;
    };
    let (news, over) = doubt.look(last_seq);
    let joined = if news { doubt.joined.clone() } else { BTreeSet::new() };
    if over {
        open.remove(&conversation);
    }
    drop(open);
    if news {
        let doorbell = Doorbell { conversation, last_seq };
        shared.heard(doorbell);
        shared.ring(doorbell);
        for user in joined {
            shared.placed.add((user, conversation));
            shared.ring_place(user, conversation);
        }
    }
}
