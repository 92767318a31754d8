//! Processes the requests and acknowledgements of the application.

use tokio::sync::oneshot;

use crate::client::{ClientError, SendOutcome, ids, shared::Acknowledgement};
use crate::codec::Failure;
use crate::model::{ClientMessageId, Command, ConversationRef, Outcome, ReplyCode};

use crate::time::now;

use super::{Driver, Input, MAX_BATCH, QueueRequest, outgoing};

impl Driver {
    /// Passes the acknowledgements of the application to the machine.
    pub(super) fn take_acks(&mut self) {
        for (conversation, Acknowledgement { cursor, resets }) in self.shared.take_acks() {
            self.machine.acknowledge(now(), conversation, cursor, resets);
        }
    }

    /// Processes `first`, and requests of the application that wait behind it. Messages are durable
    /// before they are sent or reported as queued.
    pub(super) async fn take_inputs(&mut self, first: Input) {
        let mut requests = Vec::new();
        let mut next = Some(first);
        for _ in 0..MAX_BATCH {
            let Some(input) = next.take().or_else(|| self.inputs.try_recv().ok()) else {
                break;
            };
            match input {
                Input::Execute {
                    command,
                    epoch_number,
                    reply,
                } => self.execute(command, epoch_number, reply),
                Input::Queue(request) => requests.extend(self.address(request)),
                Input::SaveNames { names, epoch_number } if epoch_number == self.shared.epoch_number() => {
                    self.save_names(&names).await;
                }
                Input::SaveNames { .. } => {}
                Input::Close => self.close(),
            }
        }
        if !requests.is_empty() {
            self.queue(requests).await;
        }
    }

    /// Addresses a message by the id of its conversation, or by the given reference if the id is
    /// not known. Adds the name of the conversation, if that is known, and the [store epoch](ids)
    /// that the id belongs to. Refuses a message with ids of an earlier store epoch, and returns
    /// `None`.
    fn address(&self, mut request: QueueRequest) -> Option<QueueRequest> {
        let entry = &mut request.entry;
        let has_ids = ids::is_by_id(&entry.conversation) || ids::has_ids(&entry.content);
        if has_ids && request.epoch_number != self.shared.epoch_number() {
            let _ = request.queued_reply.send(Err(ClientError::StoreReplaced)); // the caller may have stopped waiting
            return None;
        }
        entry.store_epoch = self.machine.store_epoch();
        let known = self.shared.find(&entry.conversation);
        entry.name = match &known {
            _ if entry.conversation.is_by_name() => Some(entry.conversation.clone()),
            Some(info) => ids::name_of(info),
            None => match entry.conversation {
                ConversationRef::Id(id) => self.machine.learned_name(id),
                _ => None,
            },
        };
        let saved = || self.shared.saved_group(&entry.conversation);
        if let Some(id) = known.map(|info| info.id).or_else(saved) {
            entry.conversation = ConversationRef::Id(id);
        }
        Some(request)
    }

    /// Passes a command to the machine. Refuses it if it contains ids of an earlier store epoch,
    /// and ignores it if its caller has gone; see [`cancel_abandoned`](Self::cancel_abandoned).
    fn execute(
        &mut self,
        mut command: Command,
        epoch_number: u64,
        reply: oneshot::Sender<Result<Outcome, ClientError>>,
    ) {
        if reply.is_closed() {
            return;
        }
        if epoch_number != self.shared.epoch_number() && ids::command_has_ids(&command) {
            let _ = reply.send(Err(ClientError::StoreReplaced)); // the caller may have stopped waiting
            return;
        }
        if let Some(conversation) = ids::member_conversation_in(&mut command) {
            *conversation = self.shared.resolve(conversation);
        }
        self.replies.last_command_id += 1;
        self.replies.commands.insert(self.replies.last_command_id, reply);
        self.machine.execute(now(), self.replies.last_command_id, command);
    }

    /// Cancels the waiting commands whose callers have gone: a caller that gave up treats its
    /// command as failed, so the command must not take effect later.
    pub(super) fn cancel_abandoned(&mut self) {
        let machine = &mut self.machine;
        self.replies.commands.retain(|command_id, reply| {
            let is_wanted = !reply.is_closed();
            if !is_wanted {
                machine.cancel(*command_id);
            }
            is_wanted
        });
    }

    /// Stores messages in the outbox and passes them to the machine, or refuses them.
    async fn queue(&mut self, requests: Vec<QueueRequest>) {
        let (new, repeated) = self.classify(requests);
        let entries: Vec<_> = new.iter().map(|request| request.entry.clone()).collect();
        let stored = match &entries[..] {
            [] => Ok(()),
            entries => self.store.queue(entries).await.map_err(ClientError::from),
        };
        match stored {
            Ok(()) => {
                for QueueRequest {
                    entry,
                    queued_reply,
                    outcome,
                    ..
                } in new
                {
                    self.confirm_queued(entry.id, queued_reply, outcome);
                    if !self.progress.had_session {
                        self.progress.queued_before_login.push(entry.id);
                    }
                    self.machine.send(now(), outgoing(entry));
                }
                for QueueRequest {
                    entry,
                    queued_reply,
                    outcome,
                    ..
                } in repeated
                {
                    self.confirm_queued(entry.id, queued_reply, outcome);
                }
                self.shared.unsettled.send_replace(self.machine.unsettled());
            }
            Err(error) => {
                for QueueRequest {
                    entry,
                    queued_reply,
                    outcome,
                    ..
                } in new.into_iter().chain(repeated)
                {
                    if self.machine.message(&entry.id).is_some() {
                        self.confirm_queued(entry.id, queued_reply, outcome); // an earlier request queued it
                    } else {
                        let _ = queued_reply.send(Err(error.clone())); // the caller may have stopped waiting
                    }
                }
            }
        }
    }

    /// Returns the messages to store, and those that repeat one of them or a message of the outbox.
    /// Reports a refusal to the callers of all other messages.
    fn classify(&self, requests: Vec<QueueRequest>) -> (Vec<QueueRequest>, Vec<QueueRequest>) {
        let (mut new, mut repeated) = (Vec::<QueueRequest>::new(), Vec::new());
        for request in requests {
            let entry = &request.entry;
            let first = match self.machine.message(&entry.id) {
                Some(message) => Some((&message.conversation, &message.content)),
                None => new
                    .iter()
                    .map(|earlier| &earlier.entry)
                    .find(|first| first.id == entry.id)
                    .map(|first| (&first.conversation, &first.content)),
            };
            let refusal = match first {
                Some((conversation, content))
                    if *content == entry.content && self.is_same_conversation(conversation, &entry.conversation) =>
                {
                    repeated.push(request);
                    continue;
                }
                Some(_) => {
                    let text = "another message with this client message id is in the outbox";
                    ClientError::Refused(Failure::new(ReplyCode::Conflict, text))
                }
                None if self.machine.unsettled() + new.len() < self.options.max_outbox => {
                    new.push(request);
                    continue;
                }
                None => ClientError::OutboxFull(self.options.max_outbox),
            };
            let _ = request.queued_reply.send(Err(refusal)); // the caller may have stopped waiting
        }
        (new, repeated)
    }

    fn is_same_conversation(&self, one: &ConversationRef, other: &ConversationRef) -> bool {
        self.machine.is_same_conversation(one, other) || self.shared.resolve(one) == self.shared.resolve(other)
    }

    /// Tells the caller that its message is queued, and keeps the channel for the outcome.
    fn confirm_queued(
        &mut self,
        id: ClientMessageId,
        queued_reply: oneshot::Sender<Result<(), ClientError>>,
        outcome: oneshot::Sender<SendOutcome>,
    ) {
        self.replies.sends.entry(id).or_default().push(outcome);
        let _ = queued_reply.send(Ok(())); // the caller may have stopped waiting
    }

    /// Passes the last acknowledgements to the machine, and makes the driver end.
    fn close(&mut self) {
        self.take_acks();
        self.machine.flush_acknowledgements(now());
        self.progress.is_closing = true;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::client::address::Scheme;
    use crate::client::driver::{PendingReplies, Progress};
    use crate::client::machine::{Machine, MachineConfig};
    use crate::client::shared::Shared;
    use crate::client::{AccountState, ClientOptions, Credentials, Endpoint, KnownGroups, MemoryStore, Receive};

    fn driver() -> Driver {
        let account = AccountState::new();
        let machine = Machine::new(MachineConfig {
            client_name: "test".into(),
            device: account.device,
            device_name: "test".into(),
            credentials: Credentials::Stored,
            user: None,
            session: None,
            device_token: None,
            store_epoch: None,
            cursors: BTreeMap::new(),
            receive: Receive::Nothing,
            max_in_flight: 1,
        });
        Driver {
            machine,
            options: Arc::new(ClientOptions::new([] as [Endpoint; 0], Credentials::Stored)),
            store: Arc::new(MemoryStore::new()),
            shared: Arc::new(Shared::new(&account, BTreeMap::new(), KnownGroups::default())),
            account,
            cursors: BTreeMap::new(),
            inputs: mpsc::channel(1).1,
            events: mpsc::channel(1).0,
            stop: CancellationToken::new(),
            replies: PendingReplies::default(),
            progress: Progress::default(),
            scheme: Scheme::default(),
        }
    }

    #[tokio::test]
    async fn command_whose_caller_has_gone_is_not_sent() {
        let mut driver = driver();
        let mut callers = Vec::new();
        for is_kept in [true, false] {
            let (reply, caller) = oneshot::channel();
            callers.extend(is_kept.then_some(caller));
            driver.execute(Command::ListDevices, driver.shared.epoch_number(), reply);
        }
        assert_eq!(driver.machine.unfinished(), 1);
    }
}
