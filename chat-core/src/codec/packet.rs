//! Packets, expressed in types of the model.

use std::fmt;

use crate::model::{
    CloseCode, Command, ConversationInfo, Login, Outcome, Push, Registration, ReplyCode, Resume, Secret, StoreEpoch,
    Timestamp, UserInfo,
};

/// Id that a client gives to one of its requests. 0 means that the request wants no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl RequestId {
    /// Id of requests that want no reply.
    pub const NONE: Self = Self(0);

    /// Returns whether the request wants a reply.
    #[must_use]
    pub const fn wants_reply(self) -> bool {
        self.0 != 0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Packet of a client: a request with its id.
#[derive(Clone, Debug)]
pub struct Request {
    /// Id of the request.
    pub id: RequestId,
    /// Kind and arguments of the request.
    pub kind: RequestKind,
}

/// Kinds of requests.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RequestKind {
    /// Introduces the client. It is the first packet of a connection.
    Hello(Hello),
    /// Creates an account. Allowed only before login.
    Register(Registration),
    /// Starts a session with a password or a token of the application. Allowed only before login.
    Login(Login),
    /// Starts a session with the token of an earlier login. Allowed only before login.
    Resume(Resume),
    /// Asks for the nodes of the cluster. Allowed only before login.
    ListNodes,
    /// Checks the connection. Allowed after `Hello`.
    Ping,
    /// Executes a command. Allowed after login.
    Command(Command),
}

/// A client's introduction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Lowest protocol version that the client supports.
    pub min_version: u32,
    /// Highest protocol version that the client supports.
    pub max_version: u32,
    /// Name and version of the client program, for logs; at most 64 bytes.
    pub client: String,
}

/// A server's introduction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Protocol version of all further packets.
    pub version: u32,
    /// Name and version of the server program.
    pub server: String,
    /// The server's wall-clock time.
    pub server_time: Timestamp,
    /// Maximum size of a packet that the server accepts after login, in bytes.
    pub max_packet_bytes: u32,
    /// Maximum size of a message text that the server accepts, in bytes.
    pub max_text_bytes: u32,
    /// A client that has sent nothing for this many milliseconds sends a ping.
    pub heartbeat_ms: u32,
    /// Epoch of the server's store, which changes if the store may have lost events.
    pub store_epoch: StoreEpoch,
}

/// Answer to a successful login or resume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// User of the session.
    pub user: UserInfo,
    /// Token for the next resume; `None` if the presented token stays valid.
    pub session_token: Option<Secret>,
    /// Token by which the login throttle recognises the device; `None` if the device's current
    /// token stays valid.
    pub device_token: Option<Secret>,
    /// Epoch of the server's store, which changes if the store may have lost events.
    pub store_epoch: StoreEpoch,
    /// The user's inbox, and those of the user's other conversations that have the newest events.
    pub conversations: Vec<ConversationInfo>,
    /// True if the user has more conversations, which
    /// [`ListConversations`](crate::model::Command::ListConversations) returns.
    pub has_more: bool,
    /// The server's wall-clock time.
    pub server_time: Timestamp,
}

/// Node of the cluster, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// Addresses at which clients reach the node, such as `sc1://host:port`.
    pub addresses: Vec<String>,
    /// Number of live sessions, as counted a few seconds ago.
    pub sessions: u32,
    /// True if the node accepts no new sessions: it is about to stop, is not ready (for example
    /// because it cannot reach its store, or its clock is wrong), or has closed a listener.
    pub accepts_no_sessions: bool,
}

/// Successful answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Answer to `Hello`.
    Welcome(Welcome),
    /// Answer to `Register`. Only id and name are transmitted; a client receives an empty display
    /// name.
    Registered(UserInfo),
    /// Answer to `Login` and to `Resume`.
    LoggedIn(Box<LoggedIn>),
    /// Answer to `ListNodes`.
    Nodes(Vec<NodeEntry>),
    /// Answer to `Ping`: the time of the server.
    Pong(Timestamp),
    /// Answer to a command.
    Outcome(Outcome),
}

/// Error answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    number: u32,
    /// Text for people, in English unless a hook of the application gave it.
    pub text: String,
    /// Minimum delay before the next attempt, in milliseconds; 0 if the server gives none.
    pub retry_after_ms: u32,
    /// Close code of the session that the failed command belonged to, if the session has ended. It
    /// is not part of the reply: the server sends it in [`Push::Closed`].
    pub(crate) close_code: Option<CloseCode>,
}

impl Failure {
    /// Creates a failure without a retry delay.
    pub fn new(code: ReplyCode, text: impl Into<String>) -> Self {
        Self {
            number: code.number(),
            text: text.into(),
            retry_after_ms: 0,
            close_code: None,
        }
    }

    /// Sets the minimum delay before the next attempt.
    #[must_use]
    pub fn retry_after(mut self, milliseconds: u32) -> Self {
        self.retry_after_ms = milliseconds;
        self
    }

    /// Creates the failure of a received reply, whose code may be one of a later version.
    pub(super) fn from_wire(number: u32, text: String, retry_after_ms: u32) -> Self {
        Self {
            number,
            text,
            retry_after_ms,
            close_code: None,
        }
    }

    /// Returns the code if this version knows it.
    #[must_use]
    pub fn code(&self) -> Option<ReplyCode> {
        ReplyCode::from_number(self.number)
    }

    /// Returns the number of the code.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code() {
            Some(code) => write!(f, "{code:?} ({}): {}", self.number, self.text),
            None => write!(f, "code {}: {}", self.number, self.text),
        }
    }
}

/// Packet of a server, as a client decodes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming {
    /// Answer to a request.
    Reply {
        /// Id of the request.
        request_id: RequestId,
        /// Result of the request.
        result: Result<Answer, Failure>,
    },
    /// Push, which is not an answer to a request.
    Push(Push),
    /// Packet whose content this version does not know, such as a new kind of push. Ignore it.
    Unknown,
}
