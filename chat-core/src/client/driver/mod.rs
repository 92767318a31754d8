//! The task of a client: connects, feeds the [`Machine`], runs its actions, and connects again.
//!
//! A client numbers the store epochs from 0; each restored backup that it notices starts the next
//! one. See [`ids`](super::ids).

mod actions;
mod failures;
mod inputs;

use std::{
    collections::{BTreeMap, HashMap},
    future::{Future, pending},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::model::{ClientMessageId, Command, ConversationId, Outcome, UserId};
use crate::panics;
use crate::time::{now, wall_clock};

use super::{
    AccountState, ClientError, ClientEvent, ClientStore, Cursor, OutboxEntry, SendOutcome, Status,
    address::{Endpoint, Scheme},
    connect::{ConnectError, connect},
    connection::{Reader, Writer},
    error::{RefusalKind, refusal_kind},
    machine::{Machine, Outgoing},
    options::ClientOptions,
    plain,
    reconnect::Backoff,
    scheme_probe,
    shared::Shared,
};
use failures::Failures;

/// Maximum number of requests that the driver processes together. Messages among them are saved
/// together.
const MAX_BATCH: usize = 128;
/// Maximum time for closing a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Request of the application to the driver.
#[derive(Debug)]
pub(super) enum Input {
    /// Run a command.
    Execute {
        command: Command,
        /// Number of the store epoch that ids in the command belong to.
        epoch_number: u64,
        reply: oneshot::Sender<Result<Outcome, ClientError>>,
    },
    /// Put a message into the outbox.
    Queue(QueueRequest),
    /// Save the names of users.
    SaveNames {
        /// All known names.
        names: BTreeMap<UserId, String>,
        /// Number of the store epoch that the ids belong to.
        epoch_number: u64,
    },
    /// Close the connection and end the client.
    Close,
}

/// Request to put a message into the outbox.
#[derive(Debug)]
pub(super) struct QueueRequest {
    pub(super) entry: OutboxEntry,
    /// Number of the store epoch that ids in the message belong to.
    pub(super) epoch_number: u64,
    /// Tells the caller that the message is durable, or why it was refused.
    pub(super) queued_reply: oneshot::Sender<Result<(), ClientError>>,
    /// Informs the caller once the message has its outcome.
    pub(super) outcome: oneshot::Sender<SendOutcome>,
}

/// State of a client's task.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) machine: Machine,
    pub(super) options: Arc<ClientOptions>,
    pub(super) store: Arc<dyn ClientStore>,
    pub(super) shared: Arc<Shared>,
    pub(super) account: AccountState,
    /// Acknowledged position of each conversation, as last passed to the store.
    pub(super) cursors: BTreeMap<ConversationId, Cursor>,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) events: mpsc::Sender<ClientEvent>,
    /// Cancelled when the last handle of the client is dropped.
    pub(super) stop: CancellationToken,
    pub(super) replies: PendingReplies,
    pub(super) progress: Progress,
    /// Scheme of the current or the last connection; the default before the first.
    pub(super) scheme: Scheme,
}

/// Callers that wait for replies.
#[derive(Debug, Default)]
pub(super) struct PendingReplies {
    /// Callers that wait for the result of a command, by command id.
    commands: HashMap<u64, oneshot::Sender<Result<Outcome, ClientError>>>,
    /// Callers that wait for the outcome of a message. There are several if the message was
    /// enqueued again under its key.
    sends: HashMap<ClientMessageId, Vec<oneshot::Sender<SendOutcome>>>,
    last_command_id: u64,
}

/// Progress of the client from connection to connection.
#[derive(Debug, Default)]
pub(super) struct Progress {
    backoff: Backoff,
    /// True if the client has had a session since it was started.
    had_session: bool,
    /// True if the application has closed or dropped the client.
    is_closing: bool,
    /// Messages that were queued since the client was started; empty once it has had a session.
    queued_before_login: Vec<ClientMessageId>,
}

/// Reason why the driver woke up.
enum Wake<T> {
    /// The last handle of the client was dropped.
    Stop,
    /// The future that the driver waited for has this result.
    Done(T),
    /// An event was passed to the application, or dropped because the application has dropped its
    /// stream of events.
    Event,
    /// The application has acknowledged events.
    Acked,
    /// The application has sent a request; `None` if no handle of the client is left.
    Input(Option<Input>),
    /// A timer of the machine is due.
    Tick,
}

/// Next step after a connection, or after an attempt to connect.
enum Next {
    Retry {
        reason: ClientError,
        /// Minimum delay before the next attempt, if the server gave one.
        after: Option<Duration>,
    },
    End,
}

impl Driver {
    /// Runs until the client ends or is closed. A panic ends the client: later calls return
    /// [`ClientError::Panicked`], and calls that wait at that time may return
    /// [`ClientError::Closed`].
    pub(super) async fn run(self) {
        let shared = Arc::clone(&self.shared);
        if let Err(panic) = panics::catch(self.run_to_end()).await {
            tracing::error!(panic = panic.text(), "a client has ended, because it panicked");
            let reason = ClientError::Panicked(panic.text().to_owned());
            shared.status.send_replace(Status::Ended(reason));
        }
    }

    async fn run_to_end(mut self) {
        let reason = self.run_connections().await;
        self.machine.give_up(reason.clone());
        let _ = self.act(None).await; // runs the remaining actions; the client ends in any case
        self.drain_events();
        let ended = matches!(*self.shared.status.borrow(), Status::Ended(_));
        if !ended {
            self.shared.status.send_replace(Status::Ended(reason));
        }
    }

    /// Opens one connection after another. Returns the reason for which the client ends.
    async fn run_connections(&mut self) -> ClientError {
        let (mut attempts, mut failures) = (0, Failures::default());
        let server_count = self.options.servers.len();
        if server_count == 0 {
            return ClientError::Unreachable("no server was given".to_owned());
        }
        loop {
            let endpoint = self.options.servers[attempts % server_count].clone();
            let address = endpoint.address.to_string();
            let attempt = self.attempt(endpoint.clone());
            let next = match self.wait_serving(attempt).await {
                None => Next::End,
                Some(Ok(connection)) => {
                    self.scheme = endpoint.address.scheme;
                    let next = self.serve_connection(connection, &address).await;
                    if let Next::Retry { reason, .. } = &next {
                        failures.record_temporary(reason, &endpoint);
                    }
                    next
                }
                Some(Err(error)) => {
                    if !failures.record(&error, &endpoint, server_count) {
                        return error.reason;
                    }
                    Next::Retry {
                        reason: error.reason,
                        after: error.retry_after,
                    }
                }
            };
            let Next::Retry { reason, after } = next else {
                return self.end_reason();
            };
            attempts += 1;
            let is_round_complete = attempts % server_count == 0;
            let too_long = self.longer_than_allowed(after);
            if let Some(delay) = too_long {
                failures.record_delay(delay, &reason, &endpoint);
            }
            let is_postponed = !self.progress.had_session && is_round_complete && failures.is_postponed();
            if is_postponed || self.gives_up(attempts) {
                return self
                    .explain(failures.into_reported().unwrap_or((reason, endpoint)))
                    .await;
            }
            // The next server is tried at once, except after the whole list, or if this server told
            // the client to try again later, and the client may wait for so long.
            let pause = if is_round_complete || (after.is_some() && too_long.is_none()) {
                self.progress.backoff.failed(now(), after, random())
            } else {
                Duration::ZERO
            };
            self.pause(reason, pause).await;
            if self.progress.is_closing || self.stop.is_cancelled() {
                return ClientError::Closed;
            }
        }
    }

    /// Returns the error of a client that gives up: the failure, or a suggestion of another scheme
    /// if that is its cause; [`ClientError::Interrupted`] if an account may have been registered
    /// without the application knowing it; [`ClientError::Closed`] if the client is closed
    /// meanwhile.
    async fn explain(&mut self, (reason, endpoint): (ClientError, Endpoint)) -> ClientError {
        let (options, store) = (Arc::clone(&self.options), Arc::clone(&self.store));
        let explained = self
            .wait_serving(scheme_probe::explain(reason, &endpoint, &options, &*store))
            .await;
        match explained {
            // A server may have registered the account in an earlier attempt. A temporary refusal
            // leaves open whether it has.
            Some(ClientError::Refused(refused)) => {
                let is_unknown =
                    self.machine.is_registration_outcome_unknown() && refusal_kind(&refused) == RefusalKind::Temporary;
                if is_unknown {
                    ClientError::Interrupted
                } else {
                    ClientError::Refused(refused)
                }
            }
            Some(reason) if self.machine.may_have_registered() && is_temporary(&reason) => ClientError::Interrupted,
            explained => explained.unwrap_or(ClientError::Closed),
        }
    }

    /// Connects to a server, unless the tokens of this device must not be sent to it unencrypted.
    /// Such a server is forbidden: it is skipped, and the client ends if all servers are forbidden.
    fn attempt(
        &self,
        endpoint: Endpoint,
    ) -> impl Future<Output = Result<(Reader, Writer), ConnectError>> + Send + 'static {
        let tokens = plain::check_tokens(&endpoint.address, &self.account);
        let (options, store) = (Arc::clone(&self.options), Arc::clone(&self.store));
        async move {
            match tokens {
                Ok(()) => connect(endpoint, options, store).await,
                Err(reason) => Err(ConnectError::forbidden(reason)),
            }
        }
    }

    /// Returns the reason that the status contains, or that the client was closed.
    fn end_reason(&self) -> ClientError {
        match &*self.shared.status.borrow() {
            Status::Ended(reason) => reason.clone(),
            _ => ClientError::Closed,
        }
    }

    /// Reports `reason`, then serves the application for the time `pause`.
    async fn pause(&mut self, reason: ClientError, pause: Duration) {
        self.shared
            .status
            .send_replace(Status::Connecting(Some(reason.clone())));
        self.machine.add_event(ClientEvent::Disconnected {
            reason,
            retry_in: pause,
        });
        let _ = self.wait_serving(sleep(pause)).await; // the caller notices if the client is to end
    }

    /// Waits for `future` without a connection and serves the application while it waits. Returns
    /// `None` if the client must end.
    async fn wait_serving<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        loop {
            if self.act(None).await.is_some() || self.progress.is_closing {
                return None;
            }
            match self.wake(future.as_mut()).await {
                Wake::Stop => return None,
                Wake::Done(result) => return Some(result),
                other => self.process(other).await,
            }
        }
    }

    /// Serves one connection until it ends.
    async fn serve_connection(&mut self, (mut reader, mut writer): (Reader, Writer), address: &str) -> Next {
        self.machine.connected(now());
        let next = loop {
            if let Some(next) = self.act(Some((&mut writer, address))).await {
                break next;
            }
            if let Err(reason) = writer.seal(now()) {
                break Next::Retry { reason, after: None };
            }
            if self.progress.is_closing {
                break Next::End;
            }
            let io = async {
                // Writing comes first: the amount to write is bounded, while a server may send
                // forever.
                tokio::select! {
                    biased;
                    written = writer.write(), if writer.is_pending() => written.map(|()| false),
                    read = reader.read() => read.map(|()| true),
                }
            };
            let wake = self.wake(io).await;
            match wake {
                Wake::Stop => break Next::End,
                Wake::Done(Ok(false)) => {}
                Wake::Done(Ok(true)) => {
                    if let Err(reason) = self.take_packets(&mut reader) {
                        // The packets before the error are processed first.
                        break self.act(None).await.unwrap_or(Next::Retry { reason, after: None });
                    }
                }
                Wake::Done(Err(reason)) => break Next::Retry { reason, after: None },
                other => self.process(other).await,
            }
        };
        self.machine.disconnected(now());
        let _ = timeout(CLOSE_TIMEOUT, writer.close(now())).await; // the server may be gone
        next
    }

    /// Passes the packets that were read to the machine, until the machine leaves this connection.
    /// Without a session, first cancels the commands whose callers have gone.
    fn take_packets(&mut self, reader: &mut Reader) -> Result<(), ClientError> {
        if !self.machine.has_session() {
            // The packets may contain the reply to the login, upon which waiting commands are sent.
            self.cancel_abandoned();
        }
        let now = now();
        while self.machine.is_connected()
            && let Some(incoming) = reader.next(now)?
        {
            self.machine.incoming(now, incoming);
        }
        Ok(())
    }

    /// Waits for `future`, the end of the client, a request or acknowledgement of the application,
    /// room for an event, which is then passed to the application, or a timer.
    async fn wake<T>(&mut self, future: impl Future<Output = T>) -> Wake<T> {
        let tick = self.machine.next_tick(now());
        if tick.is_some_and(|at| at <= now()) {
            return Wake::Tick; // traffic must not delay timers
        }
        let ticking = async {
            match tick {
                Some(at) => sleep_until(at.into()).await,
                None => pending().await,
            }
        };
        // The end of the client comes first, then the server, which must not wait for the
        // application, then events for the application and requests of it.
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Wake::Stop,
            result = future => Wake::Done(result),
            permit = self.events.reserve(), if self.machine.has_event() => {
                if let (Ok(permit), Some(event)) = (permit, self.machine.next_event(now())) {
                    permit.send(event);
                }
                Wake::Event
            }
            () = self.shared.acked.notified() => Wake::Acked,
            input = self.inputs.recv() => Wake::Input(input),
            () = ticking => Wake::Tick,
        }
    }

    /// Processes a wake that does not concern the future that the driver waits for.
    async fn process<T>(&mut self, wake: Wake<T>) {
        match wake {
            Wake::Stop | Wake::Done(_) | Wake::Event => {}
            Wake::Acked => self.take_acks(),
            Wake::Input(Some(input)) => self.take_inputs(input).await,
            Wake::Input(None) => self.progress.is_closing = true,
            Wake::Tick => self.machine.tick(now()),
        }
    }

    /// Delivers the events for which the channel has room, after the client has ended. The
    /// application learns of the end when it has taken them, because the driver then drops the
    /// channel.
    fn drain_events(&mut self) {
        while let Ok(permit) = self.events.try_reserve()
            && let Some(event) = self.machine.next_event(now())
        {
            permit.send(event);
        }
    }
}

/// Converts an entry of the outbox for the machine. A message whose deadline has passed gets its
/// outcome at once.
pub(super) fn outgoing(entry: OutboxEntry) -> Outgoing {
    let deadline = entry.deadline.map(|deadline| {
        let left = deadline.millis_since(wall_clock());
        now() + Duration::from_millis(left)
    });
    Outgoing {
        id: entry.id,
        conversation: entry.conversation,
        name: entry.name,
        store_epoch: entry.store_epoch,
        content: entry.content,
        deadline,
    }
}

fn random() -> u32 {
    // If no random number is available, the delay is the maximum.
    getrandom::u32().unwrap_or(u32::MAX)
}

/// Returns whether another attempt might succeed after this error of a connection.
const fn is_temporary(reason: &ClientError) -> bool {
    matches!(
        reason,
        ClientError::Ended(_) | ClientError::Unreachable(_) | ClientError::Protocol(_) | ClientError::Timeout
    )
}
