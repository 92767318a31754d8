//! A connection that listens, and is made again whenever it ends.
//!
//! Redis' own resubscription gives up silently after a long outage, and tells nobody what was missed; so this is ours: one
//! connection, a sign of life every so often, endless jittered attempts, and a gap told after each.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bb8_redis::redis::aio::MultiplexedConnection;
use bb8_redis::redis::{Cmd, ErrorKind, PushInfo, PushKind, RedisError, RedisResult, Value};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::commands::{Commands, config};
use crate::mailbox::{BusEvent, Mailbox};

/// First pause after a connection ended.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// Channels subscribed to by one command.
const CHANNELS_AT_ONCE: usize = 500;

/// Listens on channels, each of which has a name of type `T` with us. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Listener<T: Clone + Debug + Send + Sync + 'static> {
    handle: SubscriptionHandle<T>,
    task: JoinHandle<()>,
}

/// Changes what a [`Listener`] listens on.
#[derive(Clone, Debug)]
pub(crate) struct SubscriptionHandle<T> {
    mailbox: Arc<Mailbox<T>>,
    /// The connection, while there is one.
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
    /// Begins, and waits for the first attempt to connect, whatever comes of it: if it fails, a gap is told once it succeeded later.
    pub(crate) async fn start(commands: Arc<Commands>) -> Self {
        let handle = SubscriptionHandle {
            mailbox: Arc::new(Mailbox::new()),
            connection: Arc::default(),
        };
        let (tried, first) = oneshot::channel();
        let task = tokio::spawn(run(commands, handle.clone(), tried));
        let _ = first.await;
        Self { handle, task }
    }

    pub(crate) fn handle(&self) -> SubscriptionHandle<T> {
        self.handle.clone()
    }

    /// The next thing heard; `None` once closed. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<BusEvent<T>> {
        self.handle.mailbox.next().await
    }
}

impl<T: Clone + Debug + Send + Sync + 'static> Drop for Listener<T> {
    fn drop(&mut self) {
        self.handle.mailbox.close();
        self.task.abort();
    }
}

impl<T: Clone> SubscriptionHandle<T> {
    fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone();
        connection
            .map(|connection| connection.0)
            .ok_or_else(|| RedisError::from((ErrorKind::Io, "no connection to Redis")))
    }

    fn set_connection(&self, connection: Option<MultiplexedConnection>) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection.map(Connection);
    }

    /// Listens on one more channel. After an error too, as soon as there is a connection; a gap is told then.
    pub(crate) async fn subscribe(&self, channel: String, name: T) -> RedisResult<()> {
        // Wanted first: whoever connects at this moment subscribes to it, or we find the new connection.
        self.mailbox.want(channel.clone(), name);
        subscribe(self.connection()?, &[channel]).await
    }

    /// No longer listens on it.
    pub(crate) async fn unsubscribe(&self, channel: String) -> RedisResult<()> {
        self.mailbox.forget(&channel);
        let _: Value = Cmd::new()
            .arg("UNSUBSCRIBE")
            .arg(channel)
            .query_async(&mut self.connection()?)
            .await?;
        Ok(())
    }

    pub(crate) fn close(&self) {
        self.mailbox.close();
        self.set_connection(None);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.mailbox.is_closed()
    }
}

async fn subscribe(mut connection: MultiplexedConnection, channels: &[String]) -> RedisResult<()> {
    for channels in channels.chunks(CHANNELS_AT_ONCE) {
        connection.subscribe(channels).await?;
    }
    Ok(())
}

async fn run<T: Clone + Debug + Send + Sync + 'static>(
    commands: Arc<Commands>,
    handle: SubscriptionHandle<T>,
    tried: oneshot::Sender<()>,
) {
    let mut tried = Some(tried);
    let mut backoff = FIRST_BACKOFF;
    // Whether those who listen may have missed something.
    let mut has_missed = false;
    while !handle.is_closed() {
        let ended = Arc::new(Notify::new());
        match connect(&commands, &handle, &ended).await {
            Ok(connection) => {
                backoff = FIRST_BACKOFF;
                if has_missed {
                    tracing::info!("Redis is heard again");
                    handle.mailbox.gap();
                }
                drop(tried.take());
                let error = listen(&commands, connection, &ended).await;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the connection to Redis ended; connecting again"
                );
            }
            Err(error) => {
                if !has_missed {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "Redis cannot be reached; trying again"
                    );
                }
                drop(tried.take());
            }
        }
        handle.set_connection(None);
        has_missed = true;
        sleep(jittered(backoff)).await;
        backoff = (backoff * 2).min(commands.options.max_backoff);
    }
}

/// Half to all of it.
fn jittered(pause: Duration) -> Duration {
    let random = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
    pause / 2 + pause / 2 * random / 256
}

/// A connection that listens on everything that is wanted.
async fn connect<T: Clone + Send + Sync + 'static>(
    commands: &Commands,
    handle: &SubscriptionHandle<T>,
    ended: &Arc<Notify>,
) -> RedisResult<MultiplexedConnection> {
    let (mailbox, end) = (Arc::clone(&handle.mailbox), Arc::clone(ended));
    let heard = move |push: PushInfo| -> Result<(), RedisError> {
        match push.kind {
            PushKind::Message => deliver(&mailbox, push.data),
            PushKind::Disconnection => end.notify_one(),
            _ => {}
        }
        Ok(())
    };
    let config = config(&commands.options).set_push_sender(heard);
    let connecting = commands.client.get_multiplexed_async_connection_with_config(&config);
    // The limit in `config` is not that of the handshake after connecting.
    let connection = timeout(commands.options.connect_timeout * 2, connecting).await;
    let connection = connection.unwrap_or_else(|_| Err((ErrorKind::Io, "it did not answer in time").into()))?;
    // From here on `subscribe` uses it; what is wanted before is in the list.
    handle.set_connection(Some(connection.clone()));
    subscribe(connection.clone(), &handle.mailbox.channels()).await?;
    Ok(connection)
}

fn deliver<T: Clone>(mailbox: &Mailbox<T>, data: Vec<Value>) {
    if let Ok([Value::BulkString(channel), Value::BulkString(message)]) = <[Value; 2]>::try_from(data)
        && let Ok(channel) = std::str::from_utf8(&channel)
    {
        mailbox.deliver(channel, message);
    }
}

/// Waits for the connection's end.
async fn listen(commands: &Commands, mut connection: MultiplexedConnection, ended: &Notify) -> RedisError {
    loop {
        tokio::select! {
            () = ended.notified() => return (ErrorKind::Io, "it was closed").into(),
            () = sleep(commands.options.ping_interval) => {}
        }
        let ping: RedisResult<Value> = Cmd::new().arg("PING").query_async(&mut connection).await;
        if let Err(error) = ping {
            return error;
        }
    }
}
