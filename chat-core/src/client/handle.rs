//! The application's side of a client.

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

use crate::model::{
    ClientMessageId, Command, ConversationId, ConversationInfo, ConversationRef, DeviceId, Draft, DraftContent,
    MessageText, Outcome, UserId, UserInfo, UserRef,
};
use crate::sync::Mutex;

use super::{
    ClientError, ClientStore, Cursor, OutboxEntry, SendOutcome, Status,
    driver::{self, Course, Driver, Input, Queued, Waits},
    events::Events,
    machine::{Machine, MachineConfig},
    options::ClientOptions,
    own, sendable,
    shared::{Acked, Shared},
};

/// Requests that wait for the driver. When it is full, whoever asks for more waits.
const INPUTS: usize = 256;
/// Events that wait for the application, besides those in the machine. When it is full, nothing more is read from the logs.
const EVENTS: usize = 64;
/// Users asked for at once.
const USERS: usize = 200;

/// A client of a chat service: one device of one user. Cheap to clone; when the last clone is dropped, its task stops.
///
/// See the [module](super) for an example.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    inputs: mpsc::Sender<Input>,
    events: Mutex<Option<Events>>,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    _stop: DropGuard,
}

/// A message on its way. Dropping it changes nothing: the message is in the outbox.
#[derive(Debug)]
pub struct SendHandle {
    id: ClientMessageId,
    outcome: oneshot::Receiver<SendOutcome>,
}

impl SendHandle {
    /// The message's idempotency key.
    #[must_use]
    pub fn id(&self) -> ClientMessageId {
        self.id
    }

    /// Waits for the outcome, which comes once.
    ///
    /// # Errors
    /// [`ClientError::Closed`]: the client ended before. The message is still in the outbox, for another run.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn outcome(&mut self) -> Result<SendOutcome, ClientError> {
        (&mut self.outcome).await.map_err(|_| ClientError::Closed)
    }
}

impl Client {
    /// Starts a client and waits until it is logged in.
    ///
    /// # Errors
    /// As [`start`](Self::start) and [`ready`](Self::ready).
    pub async fn connect(options: ClientOptions, store: impl ClientStore) -> Result<Self, ClientError> {
        let client = Self::start(options, store).await?;
        client.ready().await?;
        Ok(client)
    }

    /// Starts a client, which connects in the background. Messages can be given to it at once.
    ///
    /// # Errors
    /// The store cannot be read.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start(options: ClientOptions, store: impl ClientStore) -> Result<Self, ClientError> {
        let kept = store.load().await?;
        let user = kept.account.user.clone();
        let session = user
            .as_ref()
            .map(|user| user.id)
            .zip(kept.account.session_token.clone());
        let mut machine = Machine::new(MachineConfig {
            client: options.client.clone(),
            device: kept.account.device,
            device_name: options.device_name.clone(),
            credentials: options.credentials.clone(),
            session,
            device_token: kept.account.device_token.clone(),
            epoch: kept.account.epoch,
            cursors: kept.cursors.clone(),
            receive: options.receive,
            window: options.window,
        });
        for entry in kept.outbox {
            machine.send(crate::time::now(), driver::outgoing(entry));
        }
        let shared = Arc::new(Shared::new(kept.account.device, user, kept.names));
        shared.unsettled.send_replace(machine.unsettled());
        let (inputs, input_receiver) = mpsc::channel(INPUTS);
        let (event_sender, events) = mpsc::channel(EVENTS);
        let stop = CancellationToken::new();
        let driver = Driver {
            machine,
            options: Arc::new(options),
            store: Arc::new(store),
            shared: Arc::clone(&shared),
            account: kept.account,
            cursors: kept.cursors,
            inputs: input_receiver,
            events: event_sender,
            stop: stop.clone(),
            waits: Waits::default(),
            course: Course::default(),
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
        })
    }

    /// Waits until a session stands.
    ///
    /// # Errors
    /// The client ended, because trying on makes no sense or because of [`ClientOptions::attempts`].
    pub async fn ready(&self) -> Result<(), ClientError> {
        let mut status = self.inner.shared.status.subscribe();
        let decided = |status: &Status| !matches!(status, Status::Connecting(_));
        match status.wait_for(decided).await.as_deref() {
            Ok(Status::Online(_)) => Ok(()),
            Ok(Status::Ended(reason)) => Err(reason.clone()),
            _ => Err(ClientError::Closed),
        }
    }

    /// Where the client stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner.shared.status.borrow().clone()
    }

    /// This device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.inner.shared.device
    }

    /// The user, once they have logged in on this device.
    #[must_use]
    pub fn me(&self) -> Option<UserInfo> {
        self.inner.shared.me()
    }

    /// What happens, once for each client: later calls find nothing. Until it is read, nothing is read from the logs either.
    #[must_use]
    pub fn events(&self) -> Option<Events> {
        self.inner.events.lock().take()
    }

    /// Does a command. Without a connection it waits for one.
    ///
    /// # Errors
    /// [`ClientError::Refused`] by the server; [`ClientError::Interrupted`]: whether it was done is unknown (commands that may be done twice
    /// are repeated instead).
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the command is done.
    pub async fn execute(&self, command: Command) -> Result<Outcome, ClientError> {
        let (reply, result) = oneshot::channel();
        self.ask(Input::Execute { command, reply }).await?;
        result.await.map_err(|_| self.ended())?
    }

    /// Puts a message into the outbox. It is durable there, as far as the store is, once this returns, and is sent until it has its outcome.
    ///
    /// # Errors
    /// It is not in the outbox: that is full or cannot be written, or no server would take such a message ([`ClientError::Refused`]).
    pub async fn send(&self, conversation: ConversationRef, content: DraftContent) -> Result<SendHandle, ClientError> {
        self.send_until(conversation, content, None).await
    }

    /// As [`send`](Self::send), with a time after which it is not tried any more: the outcome is then unknown.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_until(
        &self,
        conversation: ConversationRef,
        content: DraftContent,
        deadline: Option<Duration>,
    ) -> Result<SendHandle, ClientError> {
        let draft = Draft {
            client_message_id: own::new_id(self.device()),
            content,
        };
        self.send_draft(conversation, draft, deadline).await
    }

    /// As [`send_until`](Self::send_until), under an idempotency key of the caller's: the same one again is the same message. This device does not
    /// recognise such a message as its own ([`Delivery::own`](super::Delivery::own)), unless the key is from [`send`](Self::send) of this device.
    /// Given again before it has its outcome, a message keeps its first deadline, and every handle hears the one outcome.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`ClientError::Refused`] also if another message waits under this key.
    pub async fn send_draft(
        &self,
        conversation: ConversationRef,
        draft: Draft,
        deadline: Option<Duration>,
    ) -> Result<SendHandle, ClientError> {
        sendable::check(&conversation, &draft)?;
        let id = draft.client_message_id;
        let time = driver::wall_clock();
        let millis = |deadline: Duration| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let entry = OutboxEntry {
            id,
            conversation,
            content: draft.content,
            queued: time,
            deadline: deadline.map(|deadline| time.plus_millis(millis(deadline))),
        };
        let (queued, told) = oneshot::channel();
        let (outcome, awaited) = oneshot::channel();
        self.ask(Input::Queue(Queued {
            entry,
            told: queued,
            outcome,
        }))
        .await?;
        told.await.map_err(|_| self.ended())??;
        Ok(SendHandle { id, outcome: awaited })
    }

    /// Sends a text.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_text(&self, conversation: ConversationRef, text: MessageText) -> Result<SendHandle, ClientError> {
        let content = DraftContent::Message {
            text,
            reply_to: None,
            mentions: Vec::new(),
            mention_all: false,
        };
        self.send(conversation, content).await
    }

    /// The application has dealt with everything of this conversation up to `cursor`: it will not be handed out again after a restart.
    ///
    /// [`Delivery::cursor`](super::Delivery::cursor) says best how far that is. A bare [`Seq`](crate::model::Seq) will do, but then a later run cannot tell whether
    /// the log is still the same one.
    pub fn acknowledge(&self, conversation: ConversationId, cursor: impl Into<Cursor>) {
        let shared = &self.inner.shared;
        let (cursor, resets) = (cursor.into(), shared.resets());
        shared.acknowledge(conversation, Acked { cursor, resets });
    }

    /// Waits until every message of the outbox has its outcome.
    ///
    /// # Errors
    /// The client ended before.
    pub async fn flush(&self) -> Result<(), ClientError> {
        let mut unsettled = self.inner.shared.unsettled.subscribe();
        let mut status = self.inner.shared.status.subscribe();
        tokio::select! {
            biased; // a finished outbox counts, even if the client ended right after
            _ = unsettled.wait_for(|left| *left == 0) => Ok(()),
            _ = status.wait_for(|status| matches!(status, Status::Ended(_))) => Err(self.ended()),
        }
    }

    /// Messages of the outbox that have no outcome yet.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        *self.inner.shared.unsettled.borrow()
    }

    /// The conversations as last heard of.
    #[must_use]
    pub fn conversations(&self) -> Vec<Arc<ConversationInfo>> {
        self.inner.shared.conversations()
    }

    /// A conversation as last heard of.
    #[must_use]
    pub fn conversation(&self, id: ConversationId) -> Option<Arc<ConversationInfo>> {
        self.inner.shared.conversation(id)
    }

    /// Names of users: as far as they are known, else the server is asked.
    ///
    /// # Errors
    /// As [`execute`](Self::execute). Users that do not exist are left out.
    pub async fn names(&self, users: impl IntoIterator<Item = UserId>) -> Result<HashMap<UserId, String>, ClientError> {
        let mut names = HashMap::new();
        let mut unknown = Vec::new();
        for user in users {
            match self.inner.shared.name(user) {
                Some(name) => {
                    names.insert(user, name);
                }
                None => unknown.push(user),
            }
        }
        unknown.sort_unstable();
        unknown.dedup();
        for some in unknown.chunks(USERS) {
            let wanted = some.iter().copied().map(UserRef::Id).collect();
            if let Outcome::Users(found) = self.execute(Command::GetUsers(wanted)).await? {
                let found: BTreeMap<_, _> = found.into_iter().map(|user| (user.id, user.name)).collect();
                if let Some(all) = self.inner.shared.learn_names(found.clone()) {
                    self.ask(Input::SaveNames(all)).await?;
                }
                names.extend(found);
            }
        }
        Ok(names)
    }

    /// Names of users as far as they are known here; nobody is asked.
    #[must_use]
    pub fn known_names(&self, users: impl IntoIterator<Item = UserId>) -> HashMap<UserId, String> {
        let known = |user| Some((user, self.inner.shared.name(user)?));
        users.into_iter().filter_map(known).collect()
    }

    /// Reports what was acknowledged, says goodbye, and waits for the end of the task. Messages without an outcome stay in the outbox.
    pub async fn close(&self) {
        let _ = self.ask(Input::Close).await; // it may have ended by itself
        if let Some(task) = self.inner.task.lock().await.take() {
            let _ = task.await; // a panic was reported by its own hook
        }
    }

    async fn ask(&self, input: Input) -> Result<(), ClientError> {
        self.inner.inputs.send(input).await.map_err(|_| self.ended())
    }

    fn ended(&self) -> ClientError {
        match self.status() {
            Status::Ended(reason) => reason,
            _ => ClientError::Closed,
        }
    }
}
