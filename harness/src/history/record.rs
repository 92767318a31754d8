//! [`Record`]: one line of a history, and the [`Observation`] that it contains.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// One observation, with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Time in nanoseconds of the machine's monotonic clock, which all of its processes share.
    pub at: u64,
    /// The observation.
    #[serde(flatten)]
    pub observation: Observation,
}

/// Digest of a message's text, because histories do not contain the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub u64);

impl Digest {
    /// Returns the digest of `bytes`: the first eight bytes of their SHA-256.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let hash = Sha256::digest(bytes);
        Self(hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }
}

/// Position of an event in the log of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogPosition {
    /// Id of the conversation.
    pub conversation: u64,
    /// Sequence number of the event.
    pub seq: u64,
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position {} of conversation {}", self.seq, self.conversation)
    }
}

/// An event as a client received it, or as a node or the database returned it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Position of the event.
    #[serde(flatten)]
    pub position: LogPosition,
    /// Id of the event, in hexadecimal.
    pub event: String,
    /// User who caused the event.
    pub sender: u64,
    /// Commit time, in milliseconds since 1970.
    pub time: i64,
    /// Idempotency key that the sender gave the message, in hexadecimal; `None` for other events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Digest of the text, if the event is a message. A recalled message has an empty text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Users who became members of a group with this event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<u64>,
    /// Users who left a group or were removed from it with this event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<u64>,
}

/// An observation of a client, of the harness, or of the final reading of the logs. A *run* is one
/// lifetime of the client of one device: from its start to its end, or, for a client without the
/// library, one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Observation {
    /// A run started.
    Run {
        /// Unique id of the run.
        run: u64,
        /// User of the client.
        user: u64,
        /// Device of the user.
        device: String,
        /// Positions after which deliveries start, for example because the device has acknowledged
        /// the events up to them. Other conversations start at the first readable position.
        #[serde(default)]
        cursors: Vec<LogPosition>,
    },
    /// A login or resume of this run succeeded.
    LoggedIn {
        /// Id of the run.
        run: u64,
        /// Address of the server that accepted it.
        server: String,
    },
    /// A run is about to pass a message to the library, or to send it on a raw connection.
    Send {
        /// Id of the run.
        run: u64,
        /// Id of the conversation that the message is sent to.
        conversation: u64,
        /// Idempotency key of the message.
        message: String,
        /// Digest of the text.
        digest: Digest,
    },
    /// A message was acknowledged.
    Acked {
        /// Id of the run.
        run: u64,
        /// Idempotency key of the message.
        message: String,
        /// Id of the event that the message became.
        event: String,
        /// Position of the event.
        #[serde(flatten)]
        position: LogPosition,
    },
    /// A message was refused: it is not stored, now or later.
    Refused {
        /// Id of the run.
        run: u64,
        /// Idempotency key of the message.
        message: String,
        /// Reason that the server or the client library gave.
        reason: String,
    },
    /// The outcome of a message is unknown: the message is stored once or not at all.
    Unknown {
        /// Id of the run.
        run: u64,
        /// Idempotency key of the message.
        message: String,
    },
    /// An event was delivered to the application.
    Delivered {
        /// Id of the run.
        run: u64,
        /// Store epoch of the log that contains the event. After an [`Observation::Reset`], it is a
        /// made-up one, because the library does not report the new epoch.
        epoch: String,
        /// The event.
        #[serde(flatten)]
        event: EventRecord,
    },
    /// The client library, or a server, reported that it will not deliver a range of positions.
    Skipped {
        /// Id of the run.
        run: u64,
        /// First position of the range.
        #[serde(flatten)]
        from: LogPosition,
        /// Sequence number of the last position.
        to: u64,
    },
    /// The client library reported that all events delivered so far are void (the application must
    /// discard them), because the store epoch changed.
    Reset {
        /// Id of the run.
        run: u64,
    },
    /// The client library reported that the events delivered after a position are void (the
    /// application must discard them), because the log differs from there on.
    Rewound {
        /// Id of the run.
        run: u64,
        /// Last position that remains valid.
        #[serde(flatten)]
        to: LogPosition,
    },
    /// A run lasted until the test ended: its client had time to receive all events after the load.
    /// The check reports the events that the client did not receive.
    Finished {
        /// Id of the run.
        run: u64,
    },
    /// A fault began or ended.
    Fault {
        /// Name of the fault.
        name: String,
        /// True when the fault began, false when it ended.
        begins: bool,
    },
    /// An event of a log, as `source` returned it at the end.
    Logged {
        /// Name of a node, possibly with the user whom it answered, or of the database.
        source: String,
        /// Store epoch of the log that contains the event.
        epoch: String,
        /// The event.
        #[serde(flatten)]
        event: EventRecord,
    },
    /// The last position of a log, as `source` returned it at the end.
    Head {
        /// Name of a node, possibly with the user whom it answered, or of the database.
        source: String,
        /// Last position of the log.
        #[serde(flatten)]
        last: LogPosition,
        /// Time of the request, like [`Record::at`]. `last` must not be lower than a position that
        /// was observed before that time.
        #[serde(default)]
        asked: u64,
    },
    /// Range of a conversation that a user may read at the end.
    Member {
        /// Id of the user.
        user: u64,
        /// First position that the user may read.
        #[serde(flatten)]
        first: LogPosition,
        /// Last position that the user may read, if the membership has ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
    },
}
