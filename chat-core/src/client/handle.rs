//! [`Client`]: the handle by which an application uses a client.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::commands::Commands as _;
use crate::model::{
    ClientMessageId, Command, ConversationId, ConversationInfo, ConversationRef, DeviceId, Draft, DraftContent,
    Outcome, StoreEpoch, UserId, UserInfo, UserRef,
};
use crate::sync::Mutex;
use crate::time::wall_clock;

use super::{
    ClientError, ClientStore, Cursor, OutboxEntry, Scheme, SendOutcome, Status,
    driver::{self, Driver, Input, PendingReplies, Progress, QueueRequest},
    events::Events,
    machine::{Machine, MachineConfig},
    message_id,
    options::ClientOptions,
    shared::{Acknowledgement, Shared},
    validate,
};

/// Maximum number of requests that wait for the driver. Callers wait while the queue is full.
const MAX_INPUTS: usize = 256;
/// Maximum number of events that wait in the channel to the application. More wait in the machine,
/// which requests no further pages of the logs while its own queue has no room for them.
const MAX_EVENTS: usize = 64;
/// Maximum number of users whose names are requested in one command.
const MAX_NAMES_PER_COMMAND: usize = 200;

/// A client of a chat service: one device of one user. Cheap to clone. Its task stops when the last
/// clone is dropped.
///
/// See the [module](super) for an example, and [`Commands`](crate::commands::Commands) for the
/// commands that a client can run.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
    /// Number of the store epoch ([`driver`]) that the ids in requests belong to. `None`: the epoch
    /// of the events that the application has taken, or the current one if it takes no events.
    epoch_number: Option<u64>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    inputs: mpsc::Sender<Input>,
    /// `None` once the application has taken the events.
    events: Mutex<Option<Events>>,
    /// Task of the driver; `None` once [`Client::close`] has begun to wait for it.
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    _stop: DropGuard,
}

/// Handle of a message in the outbox. Dropping the handle does not affect the message.
#[derive(Debug)]
pub struct SendHandle {
    id: ClientMessageId,
    outcome: oneshot::Receiver<SendOutcome>,
}

impl SendHandle {
    /// Returns the idempotency key of the message.
    #[must_use]
    pub fn id(&self) -> ClientMessageId {
        self.id
    }

    /// Waits for the outcome of the message.
    ///
    /// # Errors
    /// [`ClientError::Closed`]: the client ended first. The message stays in the outbox for the
    /// next run.
    ///
    /// # Panics
    /// Panics if an earlier call has returned a result.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn outcome(&mut self) -> Result<SendOutcome, ClientError> {
        (&mut self.outcome).await.map_err(|_| ClientError::Closed)
    }
}

impl Client {
    /// Starts a client and waits until it is [online](Status::Online).
    ///
    /// # Errors
    /// The errors of [`start`](Self::start) and [`ready`](Self::ready).
    pub async fn connect(options: ClientOptions, store: impl ClientStore) -> Result<Self, ClientError> {
        let client = Self::start(options, store).await?;
        client.ready().await?;
        Ok(client)
    }

    /// Starts a client that connects in the background. It accepts messages at once.
    ///
    /// # Errors
    /// The store cannot be read.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime.
    pub async fn start(options: ClientOptions, store: impl ClientStore) -> Result<Self, ClientError> {
        let saved = store.load().await?;
        let user = saved.account.user.as_ref().map(|user| user.id);
        let session = user.zip(saved.account.session_token.clone());
        let mut machine = Machine::new(MachineConfig {
            client_name: options.client_name.clone(),
            device: saved.account.device,
            device_name: options.device_name.clone(),
            credentials: options.credentials.clone(),
            session,
            device_token: saved.account.device_token.clone(),
            user,
            store_epoch: saved.account.store_epoch,
            cursors: saved.cursors.clone(),
            receive: options.receive,
            max_in_flight: options.max_in_flight,
        });
        for entry in saved.outbox {
            machine.send(crate::time::now(), driver::outgoing(entry));
        }
        let shared = Arc::new(Shared::new(&saved.account, saved.names, saved.groups));
        shared.unsettled.send_replace(machine.unsettled());
        let (inputs, input_receiver) = mpsc::channel(MAX_INPUTS);
        let (event_sender, events) = mpsc::channel(MAX_EVENTS);
        let stop = CancellationToken::new();
        let driver = Driver {
            machine,
            options: Arc::new(options),
            store: Arc::new(store),
            shared: Arc::clone(&shared),
            account: saved.account,
            cursors: saved.cursors,
            inputs: input_receiver,
            events: event_sender,
            stop: stop.clone(),
            replies: PendingReplies::default(),
            progress: Progress::default(),
            scheme: Scheme::default(),
        };
        let events = Events::new(events, Arc::clone(&shared));
        let task = tokio::spawn(driver.run());
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                inputs,
                events: Mutex::new(Some(events)),
                task: tokio::sync::Mutex::new(Some(task)),
                _stop: stop.drop_guard(),
            }),
            epoch_number: None,
        })
    }

    /// Returns a handle for ids that are looked up through it from now on. If the operator of the
    /// server restores a backup later, the server may assign these ids again. Every request with an
    /// id through this handle then fails with [`ClientError::StoreReplaced`], and is not sent.
    ///
    /// Other handles assume that ids are from the events that the application has taken, up to the
    /// latest [`ClientEvent::StoreReplaced`](super::ClientEvent::StoreReplaced), or, if it takes no
    /// events, from the server's current store epoch.
    #[must_use]
    pub fn with_current_epoch(&self) -> Self {
        Self {
            epoch_number: Some(self.inner.shared.epoch_number()),
            ..self.clone()
        }
    }

    /// Returns a handle for ids that the application has now; see
    /// [`with_current_epoch`](Self::with_current_epoch). A task that runs while the application
    /// takes further events uses such a handle.
    #[must_use]
    pub fn with_known_epoch(&self) -> Self {
        Self {
            epoch_number: Some(self.application_epoch_number()),
            ..self.clone()
        }
    }

    /// Returns the store epoch of the latest login of this device; `None` before the first login.
    /// Ids of users and conversations, and message numbers, are valid only in it.
    #[must_use]
    pub fn store_epoch(&self) -> Option<StoreEpoch> {
        self.inner.shared.store_epoch()
    }

    fn application_epoch_number(&self) -> u64 {
        self.epoch_number
            .unwrap_or_else(|| self.inner.shared.application_epoch_number())
    }

    /// Waits until the client is [online](Status::Online).
    ///
    /// # Errors
    /// The client ended: for example, because its credentials or the server's key were refused,
    /// because it gave up ([`ClientOptions::max_rounds`], [`ClientOptions::max_retry_delay`]), or
    /// because it was closed. [`ClientError::Interrupted`]: the client gave up, and it is unknown
    /// whether the account of [`Credentials::Register`](super::Credentials::Register) was created.
    pub async fn ready(&self) -> Result<(), ClientError> {
        let mut status = self.inner.shared.status.subscribe();
        let decided = |status: &Status| !matches!(status, Status::Connecting(_));
        match status.wait_for(decided).await.as_deref() {
            Ok(Status::Online(_)) => Ok(()),
            Ok(Status::Ended(reason)) => Err(reason.clone()),
            _ => Err(ClientError::Closed),
        }
    }

    /// Returns the current status of the client.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner.shared.status.borrow().clone()
    }

    /// Returns the id of this device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.inner.shared.device
    }

    /// Returns the user of this device, or `None` before the first login.
    #[must_use]
    pub fn me(&self) -> Option<UserInfo> {
        self.inner.shared.me()
    }

    /// Takes the stream of events. Returns `None` after the first call. While the stream is not
    /// read, the client requests no further logs from the server once many events are queued.
    #[must_use]
    pub fn events(&self) -> Option<Events> {
        self.inner.events.lock().take().map(Events::taken)
    }

    /// Runs a command. Without a session, waits for one. [`Commands`](crate::commands::Commands)
    /// has a typed method for each command.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: the server refused the command. [`ClientError::Interrupted`]: the
    /// command may or may not have taken effect; commands that are safe to repeat are repeated
    /// instead, unless the client ends. [`ClientError::StoreReplaced`]: the command has ids of an
    /// earlier store epoch. Other errors: the client has ended, or the server violated the
    /// protocol.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the command takes effect; one that waits for a
    /// session is not sent.
    pub(crate) async fn execute(&self, command: Command) -> Result<Outcome, ClientError> {
        let (reply, result) = oneshot::channel();
        let epoch_number = self.application_epoch_number();
        self.pass_to_driver(Input::Execute {
            command,
            epoch_number,
            reply,
        })
        .await?;
        result.await.map_err(|_| self.ended())?
    }

    /// Puts a message into the outbox and returns once the store has it. The message is sent until
    /// it has an outcome, by later runs too. If the client knows the conversation
    /// ([`find_conversation`](Self::find_conversation)), or knew the group in an earlier run, the
    /// message is addressed by the id of the conversation, so that it arrives there even if the
    /// conversation is renamed first. If the operator of the server restores a backup before the
    /// message is sent, the message goes to the conversation that has the name then; a message
    /// whose conversation has no known name or was renamed meanwhile, or that refers to message
    /// numbers or ids of users, is rejected with [`ClientError::StoreReplaced`].
    ///
    /// # Errors
    /// The message is not in the outbox: the outbox is full or cannot be written, every server
    /// would refuse the message's form ([`ClientError::Refused`]), it has ids of an earlier store
    /// epoch ([`ClientError::StoreReplaced`]), or the client has ended.
    pub async fn enqueue(
        &self,
        conversation: impl Into<ConversationRef>,
        content: DraftContent,
    ) -> Result<SendHandle, ClientError> {
        let draft = Draft::from(content).with_id(message_id::new_id(self.device()));
        self.enqueue_draft(conversation, draft, None).await
    }

    /// Puts a message into the outbox under an idempotency key that the caller has chosen. The time
    /// `deadline` counts from this call: once it has passed, the message is not sent any more, and
    /// its outcome is [`SendOutcome::Unknown`]. With `None`, the message is sent until it has an
    /// outcome. Another call with the same key, conversation and content refers to the same
    /// message: while the message has no outcome, it keeps its first deadline, and every handle
    /// gets its outcome.
    ///
    /// This device recognises the message as its own
    /// ([`Delivery::is_from_this_device`](super::Delivery::is_from_this_device)) only if the key is
    /// from [`Commands::new_message_id`](crate::commands::Commands::new_message_id).
    ///
    /// # Errors
    /// The errors of [`enqueue`](Self::enqueue). [`ClientError::Refused`] also if a message in
    /// the outbox has this key and another conversation or content.
    pub async fn enqueue_draft(
        &self,
        conversation: impl Into<ConversationRef>,
        draft: Draft,
        deadline: Option<Duration>,
    ) -> Result<SendHandle, ClientError> {
        let conversation = conversation.into();
        validate::check(&conversation, &draft)?;
        let id = draft.client_message_id;
        let time = wall_clock();
        let millis = |deadline: Duration| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let entry = OutboxEntry {
            id,
            conversation,
            name: None,
            store_epoch: None,
            content: draft.content,
            queued_at: time,
            deadline: deadline.map(|deadline| time.plus_millis(millis(deadline))),
        };
        let (queued_reply, queued) = oneshot::channel();
        let (outcome, awaited) = oneshot::channel();
        self.pass_to_driver(Input::Queue(QueueRequest {
            entry,
            epoch_number: self.application_epoch_number(),
            queued_reply,
            outcome,
        }))
        .await?;
        queued.await.map_err(|_| self.ended())??;
        Ok(SendHandle { id, outcome: awaited })
    }

    /// Acknowledges every event of a conversation up to `cursor`, with the effect of
    /// [`Received::done`](super::Received::done).
    ///
    /// Pass [`Delivery::cursor`](super::Delivery::cursor). With a plain [`Seq`](crate::model::Seq),
    /// a later run may not notice that the log continued differently after the server was restored
    /// from a copy whose store epoch was kept.
    pub fn acknowledge(&self, conversation: ConversationId, cursor: impl Into<Cursor>) {
        let shared = &self.inner.shared;
        // The number of resets shows whether the acknowledgement is from before a later reset.
        let (cursor, resets) = (cursor.into(), shared.resets());
        shared.acknowledge(conversation, Acknowledgement { cursor, resets });
    }

    /// Waits until every message of the outbox has its outcome.
    ///
    /// # Errors
    /// The client ended first.
    pub async fn flush(&self) -> Result<(), ClientError> {
        let mut unsettled = self.inner.shared.unsettled.subscribe();
        let mut status = self.inner.shared.status.subscribe();
        tokio::select! {
            biased; // an empty outbox counts, even if the client ended right afterwards
            _ = unsettled.wait_for(|left| *left == 0) => Ok(()),
            _ = status.wait_for(|status| matches!(status, Status::Ended(_))) => Err(self.ended()),
        }
    }

    /// Returns the number of messages in the outbox that have no outcome yet.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        *self.inner.shared.unsettled.borrow()
    }

    /// Returns the conversations in their last known state, without asking the server.
    #[must_use]
    pub fn known_conversations(&self) -> Vec<Arc<ConversationInfo>> {
        self.inner.shared.conversations()
    }

    /// Returns a conversation in its last known state, without asking the server; `None` if the
    /// client does not know it, or if the server's store was replaced and the application has not
    /// taken [`ClientEvent::StoreReplaced`](super::ClientEvent::StoreReplaced) yet, because the id
    /// may denote another conversation then.
    #[must_use]
    pub fn known_conversation(&self, id: ConversationId) -> Option<Arc<ConversationInfo>> {
        self.inner.shared.conversation(self.application_epoch_number(), id)
    }

    /// Returns the conversation that a name or id denotes in its last known state, without asking
    /// the server. Returns `None` unless the client knows exactly one such conversation of which
    /// the user is an active member.
    #[must_use]
    pub fn find_conversation(&self, reference: &ConversationRef) -> Option<Arc<ConversationInfo>> {
        self.inner.shared.find(reference)
    }

    /// Returns the names of users. Asks the server for the names that are not known. Omits users
    /// that do not exist, and [`UserId::SYSTEM`], which is the sender of events but no account.
    ///
    /// # Errors
    /// The errors of [`Commands::execute`](crate::commands::Commands::execute).
    pub async fn names(&self, users: impl IntoIterator<Item = UserId>) -> Result<HashMap<UserId, String>, ClientError> {
        let epoch_number = self.application_epoch_number();
        let mut names = HashMap::new();
        let mut unknown = Vec::new();
        for user in users.into_iter().filter(|user| *user != UserId::SYSTEM) {
            match self.inner.shared.name(epoch_number, user) {
                Some(name) => {
                    names.insert(user, name);
                }
                None => unknown.push(user),
            }
        }
        unknown.sort_unstable();
        unknown.dedup();
        for batch in unknown.chunks(MAX_NAMES_PER_COMMAND) {
            let found = self.users(batch.iter().copied().map(UserRef::Id)).await?;
            let found: BTreeMap<_, _> = found.into_iter().map(|user| (user.id, user.name)).collect();
            if let Some(names) = self.inner.shared.learn_names(epoch_number, found.clone()) {
                self.pass_to_driver(Input::SaveNames { names, epoch_number }).await?;
            }
            names.extend(found);
        }
        Ok(names)
    }

    /// Returns the names of the users whose names are known, without asking the server.
    #[must_use]
    pub fn known_names(&self, users: impl IntoIterator<Item = UserId>) -> HashMap<UserId, String> {
        let epoch_number = self.application_epoch_number();
        let known = |user| Some((user, self.inner.shared.name(epoch_number, user)?));
        users.into_iter().filter_map(known).collect()
    }

    /// Reports acknowledgements to the server, closes the connection and waits until the client's
    /// task has ended. Messages without an outcome stay in the outbox.
    pub async fn close(&self) {
        let _ = self.pass_to_driver(Input::Close).await; // the client may have ended by itself
        if let Some(task) = self.inner.task.lock().await.take() {
            let _ = task.await; // it catches its panics
        }
    }

    async fn pass_to_driver(&self, input: Input) -> Result<(), ClientError> {
        self.inner.inputs.send(input).await.map_err(|_| self.ended())
    }

    fn ended(&self) -> ClientError {
        match self.status() {
            Status::Ended(reason) => reason,
            _ => ClientError::Closed,
        }
    }
}
