//! The unit of work behind every send: a batch of drafts for one conversation.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;

use super::checks::Scene;
use super::prepared::Prepared;
use super::{appended, conflict};
use crate::engine::contact::Standing;
use crate::engine::core::Idempotent;
use crate::engine::error::{CommandError, Refusal, refusals};
use crate::engine::fence::live;
use crate::engine::log::{Author, Logs};
use crate::model::{
    Appended, Caller, ClientMessageId, ConversationId, ConversationKind, Event, EventKind, Seq, Timestamp, UserId,
};
use crate::store::{Operation, SentEvent, StoreError, Transaction};

/// What the engine's configuration says about messages.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct BatchRules {
    pub(in crate::engine) edit_window_ms: u64,
    pub(in crate::engine) mentions: usize,
}

/// Appends drafts to one conversation, in their order. Each is accepted or refused by itself; a refused one leaves no hole.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Appends {
    pub(in crate::engine) conversation: ConversationId,
    /// Of the conversation; never changes.
    pub(in crate::engine) kind: ConversationKind,
    pub(in crate::engine) drafts: Arc<[Prepared]>,
    pub(in crate::engine) rules: BatchRules,
    pub(in crate::engine) now: Timestamp,
    /// Look for all drafts whether they are stored already. Without it only for those that would be refused: of the others the store says so
    /// when they are written, and then this is set.
    pub(in crate::engine) look_first: bool,
}

impl Idempotent for Appends {
    fn look_first(&mut self) {
        self.look_first = true;
    }
}

/// What became of a batch.
#[derive(Debug)]
pub(in crate::engine) struct Batch {
    /// One for each draft, in their order.
    pub(in crate::engine) results: Vec<Result<Appended, CommandError>>,
    /// What to ring for, ascending: what was appended, and what a retry found appended before.
    pub(in crate::engine) events: Vec<Event>,
}

/// What has to be written besides the event itself.
#[derive(Debug)]
enum Effect {
    Edited { target: Seq, edit: Seq },
    Recalled { target: Seq, recall: Seq },
    Mentioned { seq: Seq, users: Vec<UserId> },
}

#[async_trait]
impl Operation for Appends {
    type Output = Batch;
    refusals!();

    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<Batch, Refusal> {
        let standings = self.standings(tx).await?;
        let mut logs = Logs::lock(tx, self.now, [self.conversation]).await?;
        let Some(log) = logs.log(self.conversation) else {
            return Ok(self.refuse_all(&CommandError::not_found()));
        };
        let live = live(tx, self.drafts.iter().map(|draft| draft.caller)).await?;
        let mut sent = if self.look_first {
            self.find_sent(tx, |_| true).await?
        } else {
            HashMap::new()
        };
        let mut scene = Scene::look(tx, &log.row, &self.drafts, standings, self.rules, self.now).await?;

        let mut results = Vec::with_capacity(self.drafts.len());
        let mut effects = Vec::new();
        let mut rung_again = Vec::new();
        let mut reads: HashMap<UserId, Seq> = HashMap::new();
        for draft in self.drafts.iter() {
            let key = key(draft);
            let is_live = live.contains(&draft.caller);
            if let Some(event) = sent.get(&key) {
                results.push(self.again(draft, event, is_live));
                if event.seq <= scene.last_seq_before() {
                    rung_again.push(event.clone());
                }
                continue;
            }
            if !is_live {
                results.push(Err(CommandError::fenced()));
                continue;
            }
            if let Err(refused) = scene.check(draft) {
                results.push(Err(refused));
                continue;
            }
            let author = Author {
                user: draft.caller.user,
                device: Some(draft.caller.device),
                sent: Some((draft.client_message_id, draft.fingerprint)),
            };
            let event = log.append_encoded(self.now, author, draft.kind, draft.target, draft.body.clone());
            results.push(Ok(appended(event, false)));
            collect_effects(draft, event.seq, &mut effects);
            if event.kind == EventKind::Message {
                reads.insert(event.sender, event.seq);
            }
            scene.appended(event);
            sent.insert(key, event.clone());
        }

        if !self.look_first {
            self.recall_refused(tx, &mut results, &live, &mut rung_again).await?;
        }
        let (_, mut events) = logs.write(tx).await?;
        self.write_effects(tx, effects).await?;
        if !reads.is_empty() {
            let reads: Vec<(UserId, Seq)> = reads.into_iter().collect();
            tx.advance_read(self.conversation, &reads).await?;
        }
        rung_again.retain(|event| event.conversation == self.conversation);
        rung_again.sort_by_key(|event| event.seq);
        rung_again.dedup_by_key(|event| event.seq);
        events.splice(0..0, rung_again);
        Ok(Batch { results, events })
    }
}

impl Appends {
    /// What the two users of a direct conversation are to each other, locked before the conversation as the order of locks
    /// demands.
    async fn standings(&self, tx: &mut dyn Transaction) -> Result<HashMap<UserId, (Standing, bool)>, StoreError> {
        let ConversationKind::Direct { low, high } = self.kind else {
            return Ok(HashMap::new());
        };
        if low == high {
            return Ok(HashMap::from([(low, (Standing::Oneself, true))]));
        }
        let (of_low, of_high) = tx.lock_contacts(low, high).await?;
        let mut standings = HashMap::with_capacity(2);
        for (user, peer, own, other) in [(low, high, &of_low, &of_high), (high, low, &of_high, &of_low)] {
            if !self.drafts.iter().any(|draft| draft.caller.user == user) {
                continue;
            }
            let standing = Standing::of(own.as_ref(), other.as_ref());
            let everyone = standing == Standing::Stranger && super::open::takes_from_everyone(tx, peer).await?;
            standings.insert(user, (standing, everyone));
        }
        Ok(standings)
    }

    /// What the keys of these drafts, by their places in the batch, were used for.
    async fn find_sent(
        &self,
        tx: &mut dyn Transaction,
        which: impl Fn(usize) -> bool,
    ) -> Result<HashMap<Key, Event>, StoreError> {
        let wanted = self.drafts.iter().enumerate().filter(|(index, _)| which(*index));
        let keys: HashSet<Key> = wanted.map(|(_, draft)| key(draft)).collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let keys: Vec<Key> = keys.into_iter().collect();
        let found = tx.find_sent(&keys).await?;
        let by_key = |sent: SentEvent| ((sent.sender, sent.client_message_id), sent.event);
        Ok(found.into_iter().map(by_key).collect())
    }

    /// What was refused may have been stored before, when there was no reason to refuse it.
    async fn recall_refused(
        &self,
        tx: &mut dyn Transaction,
        results: &mut [Result<Appended, CommandError>],
        live: &HashSet<Caller>,
        rung_again: &mut Vec<Event>,
    ) -> Result<(), StoreError> {
        let sent = self.find_sent(tx, |index| results[index].is_err()).await?;
        for (draft, result) in self.drafts.iter().zip(results) {
            if result.is_err()
                && let Some(event) = sent.get(&key(draft))
            {
                *result = self.again(draft, event, live.contains(&draft.caller));
                rung_again.push(event.clone());
            }
        }
        Ok(())
    }

    /// Answers a draft whose key was used. What is stored is stored, also if its session is over by now: nothing else may be said of it.
    fn again(&self, draft: &Prepared, event: &Event, is_live: bool) -> Result<Appended, CommandError> {
        if self.is_of(draft, event) {
            Ok(appended(event, true))
        } else if is_live {
            Err(conflict())
        } else {
            Err(CommandError::fenced())
        }
    }

    /// Whether the event is what became of this draft.
    fn is_of(&self, draft: &Prepared, event: &Event) -> bool {
        event.conversation == self.conversation && event.fingerprint == draft.fingerprint
    }

    fn refuse_all(&self, error: &CommandError) -> Batch {
        Batch {
            results: self.drafts.iter().map(|_| Err(error.clone())).collect(),
            events: Vec::new(),
        }
    }

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

/// Everybody, in the mentions of a message.
const EVERYBODY: UserId = UserId(0);

fn collect_effects(draft: &Prepared, seq: Seq, effects: &mut Vec<Effect>) {
    match (draft.kind, draft.target) {
        (EventKind::Edit, Some(target)) => effects.push(Effect::Edited { target, edit: seq }),
        (EventKind::Recall, Some(target)) => effects.push(Effect::Recalled { target, recall: seq }),
        _ => {}
    }
    if draft.mention_all || !draft.mentions.is_empty() {
        let mut users = draft.mentions.clone();
        if draft.mention_all {
            users.push(EVERYBODY);
        }
        effects.push(Effect::Mentioned { seq, users });
    }
}

/// What a sender calls a draft; used once.
type Key = (UserId, ClientMessageId);

fn key(draft: &Prepared) -> Key {
    (draft.caller.user, draft.client_message_id)
}

/// Whose drafts these are.
pub(super) fn senders(drafts: &[Prepared]) -> HashSet<UserId> {
    drafts
        .iter()
        .map(|draft| draft.caller)
        .map(|Caller { user, .. }| user)
        .collect()
}
