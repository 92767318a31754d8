//! Listener on channels of Redis, which reconnects whenever its connection ends.
//!
//! The automatic resubscription of the `redis` crate stops silently after a long outage, and does
//! not report lost messages. So this module reconnects by itself: it keeps one connection, sends
//! regular pings, retries forever with jittered delays, and reports a gap after each outage.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bb8_redis::redis::aio::MultiplexedConnection;
use bb8_redis::redis::{Cmd, ErrorKind, PushInfo, PushKind, RedisError, RedisResult, Value};
use chat_core::jitter;
use chat_core::sync::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::commands::{CommandSender, connection_config};
use crate::mailbox::{BusEvent, Mailbox};

/// Upper bound of the first delay before reconnecting.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// Maximum number of channels in one subscribe command.
const MAX_CHANNELS_PER_COMMAND: usize = 500;

/// Receiver of the messages of a set of channels. Its owner identifies each channel by an id of
/// type `T`. Dropping the listener ends its connection.
#[derive(Debug)]
pub(crate) struct Listener<T: Clone + Debug + Send + Sync + 'static> {
    handle: ListenerHandle<T>,
    task: JoinHandle<()>,
}

/// Handle that changes the channels of a [`Listener`], or closes it.
#[derive(Clone, Debug)]
pub(crate) struct ListenerHandle<T> {
    mailbox: Arc<Mailbox<T>>,
    /// `None` while there is no connection.
    connection: Arc<Mutex<Option<Connection>>>,
}

#[derive(Clone)]
struct Connection(MultiplexedConnection);

impl Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl<T: Clone + Debug + Send + Sync + 'static> Listener<T> {
    /// Starts a listener, and waits until the first attempt to connect has ended. If it failed, a
    /// gap follows once a later attempt succeeds.
    pub(crate) async fn start(commands: Arc<CommandSender>) -> Self {
        let handle = ListenerHandle {
            mailbox: Arc::new(Mailbox::new()),
            connection: Arc::default(),
        };
        let (first_attempt, first_attempt_ended) = oneshot::channel();
        let task = tokio::spawn(run(commands, handle.clone(), first_attempt));
        let _ = first_attempt_ended.await; // `run` drops the sender
        Self { handle, task }
    }

    pub(crate) fn handle(&self) -> ListenerHandle<T> {
        self.handle.clone()
    }

    /// Returns the next event, or `None` once the listener is closed and no event is queued. Cancel
    /// safe.
    pub(crate) async fn next(&mut self) -> Option<BusEvent<T>> {
        self.handle.mailbox.next().await
    }
}

impl<T: Clone + Debug + Send + Sync + 'static> Drop for Listener<T> {
    fn drop(&mut self) {
        self.handle.close();
        self.task.abort();
    }
}

impl<T: Clone> ListenerHandle<T> {
    fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let connection = self.connection.lock().clone();
        connection
            .map(|connection| connection.0)
            .ok_or_else(|| RedisError::from((ErrorKind::Io, "no connection to Redis")))
    }

    /// Replaces the connection. A closed listener keeps none, because other handles, which may
    /// outlive it, would keep the connection open.
    fn set_connection(&self, connection: Option<MultiplexedConnection>) {
        let mut current = self.connection.lock();
        *current = connection.filter(|_| !self.is_closed()).map(Connection);
    }

    /// Adds a channel. After an error, the next connection subscribes to the channel, and a gap is
    /// reported.
    pub(crate) async fn subscribe(&self, channel: String, id: T) -> RedisResult<()> {
        // The channel is added first: a connection that is opened at the same time either
        // subscribes to the channel itself, or is the connection used below.
        self.mailbox.add_channel(channel.clone(), id);
        subscribe(self.connection()?, &[channel]).await
    }

    /// Removes a channel. Its messages are no longer accepted, even after an error.
    pub(crate) async fn unsubscribe(&self, channel: String) -> RedisResult<()> {
        self.mailbox.remove_channel(&channel);
        let _: Value = Cmd::new()
            .arg("UNSUBSCRIBE")
            .arg(channel)
            .query_async(&mut self.connection()?)
            .await?;
        Ok(())
    }

    /// Closes the listener: [`Listener::next`] returns `None` after the queued events. The
    /// connection ends when the listener is dropped.
    pub(crate) fn close(&self) {
        self.mailbox.close();
        self.set_connection(None);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.mailbox.is_closed()
    }
}

async fn subscribe(mut connection: MultiplexedConnection, channels: &[String]) -> RedisResult<()> {
    for channels in channels.chunks(MAX_CHANNELS_PER_COMMAND) {
        connection.subscribe(channels).await?;
    }
    Ok(())
}

/// Connects, and connects again whenever the connection has ended. Returns if the listener is
/// closed by then; dropping the listener aborts this task. Drops `first_attempt` when the first
/// attempt to connect has ended.
async fn run<T: Clone + Debug + Send + Sync + 'static>(
    commands: Arc<CommandSender>,
    handle: ListenerHandle<T>,
    first_attempt: oneshot::Sender<()>,
) {
    let mut first_attempt = Some(first_attempt);
    let mut backoff = FIRST_BACKOFF;
    // `true` after the first attempt: messages may have been lost before each later connection.
    let mut may_have_lost = false;
    while !handle.is_closed() {
        let ended = Arc::new(Notify::new());
        match connect(&commands, &handle, &ended).await {
            Ok(connection) => {
                backoff = FIRST_BACKOFF;
                if may_have_lost {
                    tracing::info!("connected to Redis after a failure");
                    handle.mailbox.push_gap();
                }
                drop(first_attempt.take());
                let error = ping_until_closed(&commands, connection, &ended).await;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the connection to Redis ended; reconnecting"
                );
            }
            Err(error) => {
                if !may_have_lost {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "Redis cannot be reached; retrying"
                    );
                }
                drop(first_attempt.take());
            }
        }
        handle.set_connection(None);
        may_have_lost = true;
        sleep(jitter::spread(backoff, 0.5, 1.0)).await;
        backoff = (backoff * 2).min(commands.options.max_backoff);
    }
}

/// Opens a connection, makes it the connection of `handle`, and subscribes to all channels. `ended`
/// is notified when the connection has ended.
async fn connect<T: Clone + Send + Sync + 'static>(
    commands: &CommandSender,
    handle: &ListenerHandle<T>,
    ended: &Arc<Notify>,
) -> RedisResult<MultiplexedConnection> {
    let (mailbox, end) = (Arc::clone(&handle.mailbox), Arc::clone(ended));
    let on_push = move |push: PushInfo| -> Result<(), RedisError> {
        match push.kind {
            PushKind::Message => deliver(&mailbox, push.data),
            PushKind::Disconnection => end.notify_one(),
            _ => {}
        }
        Ok(())
    };
    let config = connection_config(&commands.options).set_push_sender(on_push);
    let connecting = commands.client.get_multiplexed_async_connection_with_config(&config);
    // The timeout in `config` does not cover the handshake after connecting.
    let connection = timeout(commands.options.connect_timeout * 2, connecting).await;
    let connection = connection.unwrap_or_else(|_| Err((ErrorKind::Io, "Redis did not answer in time").into()))?;
    // From here on, `ListenerHandle::subscribe` uses this connection. Channels that were added
    // before are in the mailbox.
    handle.set_connection(Some(connection.clone()));
    subscribe(connection.clone(), &handle.mailbox.channels()).await?;
    Ok(connection)
}

/// Queues the message of a push. Ignores a malformed push.
fn deliver<T: Clone>(mailbox: &Mailbox<T>, data: Vec<Value>) {
    if let Ok([Value::BulkString(channel), Value::BulkString(message)]) = <[Value; 2]>::try_from(data)
        && let Ok(channel) = std::str::from_utf8(&channel)
    {
        mailbox.deliver(channel, message);
    }
}

/// Sends pings until the connection ends or a ping fails, and returns the error.
async fn ping_until_closed(
    commands: &CommandSender,
    mut connection: MultiplexedConnection,
    ended: &Notify,
) -> RedisError {
    loop {
        tokio::select! {
            () = ended.notified() => return (ErrorKind::Io, "the connection was closed").into(),
            () = sleep(commands.options.ping_interval) => {}
        }
        let ping: RedisResult<Value> = Cmd::new().arg("PING").query_async(&mut connection).await;
        if let Err(error) = ping {
            return error;
        }
    }
}
