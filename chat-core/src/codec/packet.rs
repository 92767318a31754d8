//! Packets in words of the model.

use std::fmt;

use crate::model::{
    Command, ConversationInfo, Login, Outcome, Push, Registration, ReplyCode, Resume, Secret, StoreEpoch, Timestamp,
    UserInfo,
};

/// A client's name for one of its requests. 0: no reply is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl RequestId {
    /// The id of requests that want no reply.
    pub const NONE: Self = Self(0);

    /// Whether a reply is wanted.
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

/// What a client sends: a question with its id.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// The question.
    pub kind: RequestKind,
}

/// What can be asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RequestKind {
    /// The first packet of a connection.
    Hello(Hello),
    /// Before login.
    Register(Registration),
    /// Before login.
    Login(Login),
    /// Before login.
    Resume(Resume),
    /// Before login: which nodes there are.
    ListNodes,
    /// Any time.
    Ping,
    /// After login.
    Command(Command),
}

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Lowest version it speaks.
    pub min_version: u32,
    /// Highest version it speaks.
    pub max_version: u32,
    /// Name and version of the program, for logs; at most 64 bytes.
    pub client: String,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version spoken from here on.
    pub version: u32,
    /// Name and version of the program.
    pub server: String,
    /// The server's clock.
    pub server_time: Timestamp,
    /// Largest packet it takes after login.
    pub max_packet_bytes: u32,
    /// Largest text it takes.
    pub max_text_bytes: u32,
    /// The client pings after so long a silence of its own.
    pub heartbeat_ms: u32,
    /// Names the history.
    pub store_epoch: StoreEpoch,
}

/// What a session begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// Who logged in.
    pub user: UserInfo,
    /// For the next resume; absent if the one presented stays valid.
    pub session_token: Option<Secret>,
    /// For the login throttle; absent if the one presented stays valid.
    pub device_token: Option<Secret>,
    /// Names the history.
    pub store_epoch: StoreEpoch,
    /// Everything the user is in.
    pub conversations: Vec<ConversationInfo>,
    /// The server's clock.
    pub server_time: Timestamp,
}

/// A node of the service, as clients are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// Where clients reach it, as `sc1://host:port` and the like.
    pub addresses: Vec<String>,
    /// Live sessions, as of some seconds ago.
    pub sessions: u32,
    /// It asks for no new sessions: it is about to end, or cannot reach its store.
    pub draining: bool,
}

/// The good answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// To Hello.
    Welcome(Welcome),
    /// To Register. Only id and name travel; the display name is not set on the client's side.
    Registered(UserInfo),
    /// To Login and Resume.
    LoggedIn(Box<LoggedIn>),
    /// To ListNodes.
    Nodes(Vec<NodeEntry>),
    /// To Ping.
    Pong(Timestamp),
    /// To a command.
    Outcome(Outcome),
}

/// The bad answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    number: u32,
    /// For people, in English.
    pub text: String,
    /// Not again before so many milliseconds; 0: not said.
    pub retry_after_ms: u32,
}

impl Failure {
    /// A failure of this code.
    pub fn new(code: ReplyCode, text: impl Into<String>) -> Self {
        Self {
            number: code.number(),
            text: text.into(),
            retry_after_ms: 0,
        }
    }

    /// A failure that may be gone after so many milliseconds.
    #[must_use]
    pub fn retry_after(mut self, milliseconds: u32) -> Self {
        self.retry_after_ms = milliseconds;
        self
    }

    /// As a newer server may have meant it.
    pub(super) fn from_wire(number: u32, text: String, retry_after_ms: u32) -> Self {
        Self {
            number,
            text,
            retry_after_ms,
        }
    }

    /// The code, if this version knows it.
    #[must_use]
    pub fn code(&self) -> Option<ReplyCode> {
        ReplyCode::from_number(self.number)
    }

    /// The code on the wire.
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

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming {
    /// The answer to a request.
    Reply {
        /// Which.
        request_id: RequestId,
        /// How it ended.
        result: Result<Answer, Failure>,
    },
    /// Something that was not asked for.
    Push(Push),
    /// Something of a later version of the protocol: ignore it.
    Unknown,
}
