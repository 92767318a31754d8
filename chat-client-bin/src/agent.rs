//! Agent of an account: the process that has the account open. It executes the requests of other
//! processes for that account.
//!
//! A device can have only one session, so `send` cannot start another while `listen` runs. The
//! process that has the account open listens on a Unix socket in the account's directory, which
//! only the owner can access. On that socket the agent speaks the client protocol without
//! encryption, and executes the requests with the client of its process.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use chat_core::client::{
    AccountState, Client, ClientError, ClientOptions, Credentials, Dial, Endpoint, Receive, Scheme, SendHandle,
    SendOutcome, ServerAddress, Status,
};
use chat_core::codec::{
    Answer, DecodeError, Failure, LoggedIn, Request, RequestId, RequestKind, Welcome, frame, server, version,
};
use chat_core::commands::Commands;
use chat_core::model::{Command, ConversationQuery, MessageText, Outcome, ReplyCode, Secret, StoreEpoch, Timestamp};
use chat_core::transport::{PeerAddr, Stream, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::agent_socket;

/// Maximum number of replies queued for one connection.
const MAX_QUEUED_REPLIES: usize = 64;
/// Heartbeat interval that the agent announces to its peers, the clients that connect to it.
const HEARTBEAT_MS: u32 = 30_000;
/// Store epoch in a `Welcome` before the first login of this process's own client.
const NO_EPOCH: StoreEpoch = StoreEpoch([0; 16]);
/// Maximum time that [`is_running`] waits for a connection to an agent, which may be overloaded or
/// exiting.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Maximum time for which a connection that ends still serves the requests that it has received.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Delay before the agent tries to accept a connection again after this has failed, for example
/// because the process has too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Handle of the task that serves other processes. Dropping it stops the task and deletes the
/// socket.
#[derive(Debug)]
pub(crate) struct Agent {
    task: JoinHandle<()>,
    path: PathBuf,
}

impl Agent {
    /// Listens at `path`. Replaces an existing socket: this process holds the lock of the account,
    /// so the socket belongs to a process that has ended.
    ///
    /// # Errors
    /// The socket cannot be bound. In that case this process can use the account, and other
    /// processes cannot.
    pub(crate) fn start(path: &Path, client: Client) -> io::Result<Self> {
        let listener = agent_socket::bind(path)?;
        Ok(Self {
            task: tokio::spawn(serve(listener, client)),
            path: path.to_owned(),
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path); // the next agent deletes a socket that was left behind
    }
}

/// Returns `true` if an agent accepts connections at `path`.
pub(crate) async fn is_running(path: &Path) -> bool {
    matches!(
        tokio::time::timeout(CONNECT_TIMEOUT, agent_socket::connect(path)).await,
        Ok(Ok(_))
    )
}

/// Returns the options of a client that connects to the agent at `path`.
pub(crate) fn options(path: &Path) -> ClientOptions {
    // A placeholder: `AgentSocket` connects, whatever the address is.
    let address = ServerAddress {
        scheme: Scheme::Plain,
        host: "agent".to_owned(),
        port: 0,
    };
    let endpoint = Endpoint::new(address, AgentSocket { path: path.to_owned() });
    let mut options = ClientOptions::new([endpoint], Credentials::Stored);
    options.receive = Receive::Nothing;
    options.max_rounds = Some(1);
    options
}

/// Returns the account state for a client that connects to the agent: the same device, with a
/// placeholder token. The agent checks no token, because only the owner of the profile can access
/// its socket.
pub(crate) fn client_state(saved: AccountState) -> AccountState {
    AccountState {
        session_token: Some(Secret::new(*b"agent")),
        device_token: None,
        tokens_are_from_plain: true,
        ..saved
    }
}

/// Dialer of the Unix socket of an agent.
#[derive(Debug)]
struct AgentSocket {
    path: PathBuf,
}

#[chat_core::async_trait]
impl Dial for AgentSocket {
    async fn dial(&self) -> io::Result<Box<dyn Transport>> {
        let stream = agent_socket::connect(&self.path).await?;
        Ok(Box::new(Stream::new(stream, PeerAddr::Local)))
    }
}

async fn serve(listener: UnixListener, client: Client) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(serve_connection(stream, client.with_current_epoch()))),
            // The process may have too many open files for a moment.
            Err(_) => tokio::time::sleep(ACCEPT_RETRY_DELAY).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// State of a connection that the tasks of its requests (its jobs) share.
#[derive(Clone)]
struct Connection {
    /// Client for ids of the store epoch that was current when the peer connected.
    client: Client,
    /// Encoded replies that wait to be written.
    replies: mpsc::Sender<BytesMut>,
    /// Ends the connection.
    end: Arc<Notify>,
}

/// Serves one connection until its peer closes it, violates the protocol, uses ids of a store epoch
/// that has ended, because a backup was restored, or sends a command other than `Send` whose
/// outcome stays unknown. In the last two cases the peer gets no reply to that request, and the
/// replies to the others are written first if they come soon. It then connects again, and gets the
/// current store epoch.
async fn serve_connection(stream: UnixStream, client: Client) {
    let (mut reader, mut writer) = stream.into_split();
    let (replies, mut queued_replies) = mpsc::channel::<BytesMut>(MAX_QUEUED_REPLIES);
    let connection = Connection {
        client,
        replies,
        end: Arc::default(),
    };
    let mut jobs = JoinSet::new();
    let writing = async {
        while let Some(reply) = queued_replies.recv().await {
            if writer.write_all(&reply).await.is_err() {
                break;
            }
        }
    };
    tokio::pin!(writing);
    let reading = async {
        let mut frames = frame::FrameDecoder::new(frame::DEFAULT_MAX_PACKET_BYTES);
        loop {
            match frames.next_packet() {
                Ok(Some(packet)) => {
                    let Ok(request) = decode(packet) else { return };
                    connection.start_request(request, &mut jobs).await;
                }
                Ok(None) => match reader.read_buf(frames.buffer()).await {
                    Ok(read) if read > 0 => {}
                    _ => return,
                },
                Err(_) => return,
            }
            while jobs.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = reading => return,
        () = &mut writing => return,
        () = connection.end.notified() => {}
    }
    // Writing ends once the jobs have dropped their senders of replies.
    drop(connection);
    // For what is not answered in time, the peer does as after any lost reply.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, writing).await;
}

/// A request, or the rejection of an invalid request whose id is known.
type DecodedRequest = Result<Request, (RequestId, Failure)>;

fn decode(packet: bytes::Bytes) -> Result<DecodedRequest, DecodeError> {
    match server::decode_request(packet, MessageText::MAX_BYTES) {
        Ok(request) => Ok(Ok(request)),
        Err(DecodeError::Invalid {
            request_id, failure, ..
        }) => Ok(Err((request_id, failure))),
        Err(error) => Err(error),
    }
}

impl Connection {
    /// Starts a job that executes a request and replies; rejects an invalid request at once.
    /// Messages enter the outbox in the order in which they arrive.
    async fn start_request(&self, request: DecodedRequest, jobs: &mut JoinSet<()>) {
        let Request { id, kind } = match request {
            Ok(request) => request,
            Err((id, failure)) => return self.reply(id, Err(ClientError::Refused(failure))).await,
        };
        let connection = self.clone();
        match kind {
            RequestKind::Command(Command::Send { conversation, draft }) => {
                let queued = self.client.enqueue_draft(conversation, draft, None).await;
                jobs.spawn(async move { connection.reply(id, send_answer(queued).await).await });
            }
            kind => {
                jobs.spawn(async move {
                    let result = execute(&connection.client, kind).await;
                    let has_ended = matches!(connection.client.status(), Status::Ended(_));
                    match result {
                        // The peer repeats a command whose reply was lost if that is safe, and
                        // otherwise reports an unknown outcome, as it would with a server.
                        Err(ClientError::Interrupted) if !has_ended => connection.end.notify_one(),
                        result => connection.reply(id, result).await,
                    }
                });
            }
        }
    }

    /// Queues the reply to a request, unless the request wants none. If the request has ids of a
    /// store epoch that has ended, ends the connection instead.
    async fn reply(&self, id: RequestId, result: Result<Answer, ClientError>) {
        if matches!(result, Err(ClientError::StoreReplaced)) {
            return self.end.notify_one();
        }
        if id.wants_reply() {
            let mut frame = BytesMut::new();
            server::encode_reply(id, &result.map_err(to_failure), &mut frame);
            let _ = self.replies.send(frame).await; // the peer may have disconnected
        }
    }
}

/// Waits for the outcome of a queued message, and returns the answer to its `Send` request.
async fn send_answer(queued: Result<SendHandle, ClientError>) -> Result<Answer, ClientError> {
    match queued?.outcome().await? {
        SendOutcome::Stored(appended) => Ok(Answer::Outcome(Outcome::Appended(appended))),
        SendOutcome::NotStored(reason) => Err(reason),
        _ => Err(ClientError::Interrupted),
    }
}

/// Executes a request other than `Send`, and returns the answer.
async fn execute(client: &Client, kind: RequestKind) -> Result<Answer, ClientError> {
    match kind {
        RequestKind::Hello(_) => Ok(Answer::Welcome(Welcome {
            version: version::MAX,
            server: "agent".to_owned(),
            server_time: now(),
            max_packet_bytes: u32::try_from(frame::DEFAULT_MAX_PACKET_BYTES).unwrap_or(u32::MAX),
            max_text_bytes: u32::try_from(MessageText::MAX_BYTES).unwrap_or(u32::MAX),
            heartbeat_ms: HEARTBEAT_MS,
            store_epoch: client.store_epoch().unwrap_or(NO_EPOCH),
        })),
        RequestKind::Resume(_) => resume_answer(client),
        RequestKind::Ping => Ok(Answer::Pong(now())),
        // This process acknowledges the events that it receives, so its peers need not.
        RequestKind::Command(Command::Acknowledge { .. }) => Ok(Answer::Outcome(Outcome::Done)),
        RequestKind::Command(command) => client.execute(command).await.map(Answer::Outcome),
        _ => Err(ClientError::Refused(Failure::new(
            ReplyCode::BadRequest,
            "another chat-client has this account open, and cannot execute this request; end that process and try again",
        ))),
    }
}

/// Returns the answer to a `Resume` request: the user, the store epoch and the conversations in
/// that epoch, or `Busy` if the client is not logged in yet.
fn resume_answer(client: &Client) -> Result<Answer, ClientError> {
    let (Some(user), Some(store_epoch)) = (client.me(), client.store_epoch()) else {
        return Err(ClientError::Refused(Failure::new(
            ReplyCode::Busy,
            "another chat-client has this account open, and is not logged in yet; try again",
        )));
    };
    let conversations = client.known_conversations();
    Ok(Answer::LoggedIn(Box::new(LoggedIn {
        user,
        session_token: None,
        device_token: None,
        store_epoch,
        conversations: conversations.iter().map(|info| (**info).clone()).collect(),
        server_time: now(),
        // After its login, the client knows the first page of its conversations, and may still be
        // reading the others.
        has_more: conversations.len() >= ConversationQuery::MAX_LIMIT as usize,
    })))
}

fn to_failure(error: ClientError) -> Failure {
    match error {
        ClientError::Refused(failure) => failure,
        other => Failure::new(ReplyCode::TryAgain, other.to_string()),
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
