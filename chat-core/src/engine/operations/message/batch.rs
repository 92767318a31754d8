//! Unit of work that appends a batch of drafts to one conversation. No other unit of work stores
//! drafts; others store system messages and the events of other commands.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;

use super::context::BatchContext;
use super::open::accepts_stranger;
use super::queued_draft::{MessageLimits, QueuedDraft};
use super::{appended, conflict};
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Idempotent, Operation, WriteIntents};
use crate::engine::operations::contact::Relation;
use crate::engine::operations::fence::refusals;
use crate::engine::operations::log::{Author, Log, Logs};
use crate::model::{
    Appended, Caller, ClientMessageId, ConversationId, ConversationKind, Event, EventKind, Member, Seq, Timestamp,
    UserId,
};
use crate::store::{SentEvent, StoreError, Transaction};

/// Appends drafts to one conversation, in order. Each draft is accepted or refused separately; a
/// refused draft leaves no gap in the sequence.
#[derive(Clone, Debug)]
pub(in crate::engine) struct AppendBatch {
    pub(in crate::engine) conversation: ConversationId,
    /// Kind of the conversation, which never changes.
    pub(in crate::engine) kind: ConversationKind,
    pub(in crate::engine) drafts: Arc<[QueuedDraft]>,
    pub(in crate::engine) limits: MessageLimits,
    pub(in crate::engine) now: Timestamp,
    /// True if every draft is looked for among the stored events, before the drafts are checked. If
    /// false, only drafts that would be refused are looked for. If the idempotency key of a
    /// draft that was not looked for is in use, the store reports that when the event is inserted,
    /// and the batch runs again with this flag set.
    pub(in crate::engine) look_first: bool,
}

impl Idempotent for AppendBatch {
    fn look_first(&mut self) {
        self.look_first = true;
    }
}

/// Result of a batch.
#[derive(Debug)]
pub(in crate::engine) struct AppendedBatch {
    /// One result for each draft, in their order.
    pub(in crate::engine) results: Vec<Result<Appended, CommandError>>,
    /// Events of this conversation that were stored before this batch under a key of one of its
    /// drafts, ascending. All come before `events`.
    pub(in crate::engine) found: Vec<Event>,
    /// Events that were appended, ascending.
    pub(in crate::engine) events: Vec<Event>,
}

/// Change of other rows that an appended event requires.
#[derive(Debug)]
enum Effect {
    Edited { target: Seq, edit: Seq },
    Recalled { target: Seq, recall: Seq },
    Mentioned { seq: Seq, users: Vec<UserId> },
}

/// Earlier use of an idempotency key.
#[derive(Debug)]
struct UsedKey {
    appended: Appended,
    fingerprint: u64,
    /// The event, if it was stored before this batch; `None` if this batch appends it.
    stored: Option<Event>,
}

impl From<Event> for UsedKey {
    fn from(event: Event) -> Self {
        Self {
            appended: appended(&event, true),
            fingerprint: event.fingerprint,
            stored: Some(event),
        }
    }
}

/// Decisions about the drafts of a batch, collected while it is checked draft by draft.
#[derive(Debug)]
struct Decisions {
    results: Vec<Result<Appended, CommandError>>,
    effects: Vec<Effect>,
    /// Events that were stored before this batch under a key of one of its drafts; they may be in
    /// other conversations.
    found: Vec<Event>,
    /// Last message of each sender. A sender counts as having read everything up to it.
    read_marks: HashMap<UserId, Seq>,
    /// Members who sent their first message to a direct conversation.
    first_senders: Vec<Member>,
}

#[async_trait]
impl Operation for AppendBatch {
    type Output = AppendedBatch;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<AppendedBatch, Rejection> {
        let relations = self.relations(tx).await?;
        let mut logs = Logs::lock(tx, self.now, [self.conversation]).await?;
        let Some(log) = logs.log(self.conversation) else {
            return Ok(self.refuse_all(&CommandError::not_found()));
        };
        let refusals = refusals(tx, self.drafts.iter().map(|draft| draft.caller), self.now).await?;
        let used = if self.look_first {
            self.find_sent(tx, |_| true).await?
        } else {
            HashMap::new()
        };
        let context = BatchContext::load(tx, &log.row, &self.drafts, relations, self.limits, self.now).await?;

        let mut decisions = self.decide(log, &refusals, used, context);
        if !self.look_first {
            self.find_refused(tx, &mut decisions, &refusals).await?;
        }
        let Decisions {
            results,
            effects,
            mut found,
            read_marks,
            first_senders,
        } = decisions;

        let (_, events) = logs.write(tx, intents).await?;
        self.write_effects(tx, effects).await?;
        for member in &first_senders {
            tx.put_member(member).await?;
        }
        if !read_marks.is_empty() {
            let read_marks: Vec<(UserId, Seq)> = read_marks.into_iter().collect();
            tx.advance_read(self.conversation, &read_marks).await?;
        }
        found.retain(|event| event.conversation == self.conversation);
        found.sort_by_key(|event| event.seq);
        found.dedup_by_key(|event| event.seq);
        Ok(AppendedBatch { results, found, events })
    }
}

impl AppendBatch {
    /// Checks the drafts one after the other and appends those that are accepted to `log`.
    fn decide(
        &self,
        log: &mut Log,
        refusals: &HashMap<Caller, CommandError>,
        mut used: HashMap<Key, UsedKey>,
        mut context: BatchContext,
    ) -> Decisions {
        let mut decisions = Decisions {
            results: Vec::with_capacity(self.drafts.len()),
            effects: Vec::new(),
            found: Vec::new(),
            read_marks: HashMap::new(),
            first_senders: Vec::new(),
        };
        for draft in self.drafts.iter() {
            let key = key(draft);
            let refusal = refusals.get(&draft.caller);
            if let Some(used) = used.get(&key) {
                decisions.results.push(self.answer_used_key(draft, used, refusal));
                decisions.found.extend(used.stored.clone());
                continue;
            }
            let accepted = match refusal {
                None => context.check(draft),
                Some(refusal) => Err(refusal.clone()),
            };
            if let Err(error) = accepted {
                decisions.results.push(Err(error));
                continue;
            }
            let author = Author {
                user: draft.caller.user,
                device: draft.caller.device(),
                idempotency_key: Some((draft.client_message_id, draft.fingerprint)),
            };
            let event = log.append_encoded(self.now, author, draft.kind, draft.target, draft.body.clone());
            decisions.results.push(Ok(appended(event, false)));
            collect_effects(draft, event.seq, &mut decisions.effects);
            if event.kind == EventKind::Message {
                decisions.read_marks.insert(event.sender, event.seq);
                decisions.first_senders.extend(context.note_first_message(event.sender));
            }
            context.note_appended(event);
            let sent = UsedKey {
                appended: appended(event, true),
                fingerprint: event.fingerprint,
                stored: None,
            };
            used.insert(key, sent);
        }
        decisions
    }

    /// Returns the relation of each sender to the peer, and for a stranger, whether the peer
    /// accepts messages from the sender; for other relations, the flag means nothing. Empty if the
    /// conversation is not direct. Locks the contacts of the two users, which come before the
    /// conversation in the order of locks, unless the user writes to their own notes.
    async fn relations(&self, tx: &mut dyn Transaction) -> Result<HashMap<UserId, (Relation, bool)>, StoreError> {
        let ConversationKind::Direct { low, high } = self.kind else {
            return Ok(HashMap::new());
        };
        if low == high {
            return Ok(HashMap::from([(low, (Relation::Myself, true))]));
        }
        let (of_low, of_high) = tx.lock_contacts(low, high).await?;
        let mut relations = HashMap::with_capacity(2);
        for (user, peer, own, other) in [(low, high, &of_low, &of_high), (high, low, &of_high, &of_low)] {
            if !self.drafts.iter().any(|draft| draft.caller.user == user) {
                continue;
            }
            let relation = Relation::of(own.as_ref(), other.as_ref());
            let accepts = relation == Relation::Stranger && accepts_stranger(tx, peer, Some(self.conversation)).await?;
            relations.insert(user, (relation, accepts));
        }
        Ok(relations)
    }

    /// Returns the earlier uses of the keys of the selected drafts. `selected` takes the index of a
    /// draft in the batch.
    async fn find_sent(
        &self,
        tx: &mut dyn Transaction,
        selected: impl Fn(usize) -> bool,
    ) -> Result<HashMap<Key, UsedKey>, StoreError> {
        let wanted = self.drafts.iter().enumerate().filter(|(index, _)| selected(*index));
        let keys: HashSet<Key> = wanted.map(|(_, draft)| key(draft)).collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let keys: Vec<Key> = keys.into_iter().collect();
        let found = tx.find_sent(&keys).await?;
        let by_key = |sent: SentEvent| ((sent.sender, sent.client_message_id), sent.event.into());
        Ok(found.into_iter().map(by_key).collect())
    }

    /// Looks for the refused drafts in the store: a retry of a draft that was accepted before must
    /// succeed.
    async fn find_refused(
        &self,
        tx: &mut dyn Transaction,
        decisions: &mut Decisions,
        refusals: &HashMap<Caller, CommandError>,
    ) -> Result<(), StoreError> {
        let used = self.find_sent(tx, |index| decisions.results[index].is_err()).await?;
        for (draft, result) in self.drafts.iter().zip(&mut decisions.results) {
            if result.is_err()
                && let Some(used) = used.get(&key(draft))
            {
                *result = self.answer_used_key(draft, used, refusals.get(&draft.caller));
                decisions.found.extend(used.stored.clone());
            }
        }
        Ok(())
    }

    /// Returns the answer to a draft whose key was used before. `refusal` says why its sender may
    /// no longer act, if that is so. A retry of a stored draft succeeds nevertheless, and also if
    /// the draft was sent to a name that now belongs to another conversation.
    fn answer_used_key(
        &self,
        draft: &QueuedDraft,
        used: &UsedKey,
        refusal: Option<&CommandError>,
    ) -> Result<Appended, CommandError> {
        let is_here = draft.is_by_name || used.appended.conversation == self.conversation;
        if is_here && used.fingerprint == draft.fingerprint {
            Ok(used.appended)
        } else {
            Err(refusal.cloned().unwrap_or_else(conflict))
        }
    }

    /// Returns the same error for every draft.
    fn refuse_all(&self, error: &CommandError) -> AppendedBatch {
        AppendedBatch {
            results: self.drafts.iter().map(|_| Err(error.clone())).collect(),
            found: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Applies edits and recalls to the messages that they refer to, and stores mentions.
    async fn write_effects(&self, tx: &mut dyn Transaction, effects: Vec<Effect>) -> Result<(), StoreError> {
        use crate::codec::body;
        let id = self.conversation;
        for effect in effects {
            match effect {
                Effect::Edited { target, edit } => tx.mark_edited(id, target, edit).await?,
                Effect::Recalled { target, recall } => {
                    tx.erase(id, target, recall, body::tombstone(), body::edit_tombstone(target))
                        .await?;
                }
                Effect::Mentioned { seq, users } => tx.put_mentions(id, seq, &users).await?,
            }
        }
        Ok(())
    }
}

/// User id that represents all members in a message's mentions.
const ALL_MEMBERS: UserId = UserId(0);

/// Adds the changes that the appended event of a draft requires to `effects`.
fn collect_effects(draft: &QueuedDraft, seq: Seq, effects: &mut Vec<Effect>) {
    match (draft.kind, draft.target) {
        (EventKind::Edit, Some(target)) => effects.push(Effect::Edited { target, edit: seq }),
        (EventKind::Recall, Some(target)) => effects.push(Effect::Recalled { target, recall: seq }),
        _ => {}
    }
    if draft.mention_all || !draft.mentions.is_empty() {
        let mut users = draft.mentions.clone();
        if draft.mention_all {
            users.push(ALL_MEMBERS);
        }
        effects.push(Effect::Mentioned { seq, users });
    }
}

/// Idempotency key of a draft.
type Key = (UserId, ClientMessageId);

fn key(draft: &QueuedDraft) -> Key {
    (draft.caller.user, draft.client_message_id)
}
