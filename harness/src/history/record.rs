//! The lines of a history.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When: nanoseconds of the machine's monotonic clock, the same for all processes on it.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// Digest of a message's text. Histories hold no texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub u64);

impl Digest {
    /// Of these bytes: the first eight of their SHA-256.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let hash = Sha256::digest(bytes);
        Self(hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }
}

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The conversation.
    pub conversation: u64,
    /// The event's Seq.
    pub seq: u64,
}

/// An event, as somebody saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Its global name.
    pub event: String,
    /// Who did it.
    pub sender: u64,
    /// When it was committed, in milliseconds since 1970.
    pub time: i64,
    /// The sender's idempotency key; messages have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Of the text, if it is a message that was not taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Users who became members by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<u64>,
    /// Users who were members until it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<u64>,
}

/// What happened. A *run* is one life of one device's client: from the start of a process (or its
/// library) to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// A run begins, after these places.
    Run {
        /// Its name, used once.
        run: u64,
        /// Whose.
        user: u64,
        /// Which of their devices.
        device: String,
        /// What the device has acknowledged.
        #[serde(default)]
        cursors: Vec<Place>,
    },
    /// A login or resume of this run was answered.
    LoggedIn {
        /// Which.
        run: u64,
        /// With which server.
        server: String,
    },
    /// A message is given to the library, or to a raw connection.
    Send {
        /// Of which run.
        run: u64,
        /// Where to.
        conversation: u64,
        /// Its idempotency key.
        message: String,
        /// Of its text.
        digest: Digest,
    },
    /// It was acknowledged.
    Acked {
        /// To which run.
        run: u64,
        /// Which message.
        message: String,
        /// As what event.
        event: String,
        /// Where.
        #[serde(flatten)]
        place: Place,
    },
    /// It was refused: it is not stored, and never will be.
    Refused {
        /// To which run.
        run: u64,
        /// Which message.
        message: String,
        /// Why.
        reason: String,
    },
    /// It is there once, or not at all.
    Unknown {
        /// To which run.
        run: u64,
        /// Which message.
        message: String,
    },
    /// An event was handed to the application.
    Delivered {
        /// Of which run.
        run: u64,
        /// The history that it is part of.
        epoch: String,
        /// What.
        #[serde(flatten)]
        event: EventRecord,
    },
    /// These places will not come.
    Skipped {
        /// To which run.
        run: u64,
        /// The first.
        #[serde(flatten)]
        from: Place,
        /// The last.
        to: u64,
    },
    /// A run was told that all it was handed is void: the history is another one.
    Reset {
        /// Which.
        run: u64,
    },
    /// A run was told that what it was handed after this place is void: the log is another one from
    /// there on.
    Rewound {
        /// Which.
        run: u64,
        /// The place.
        #[serde(flatten)]
        to: Place,
    },
    /// A run ended after it had been handed everything there was, as far as it could know.
    Finished {
        /// Which.
        run: u64,
    },
    /// A fault begins or ends.
    Fault {
        /// Which.
        name: String,
        /// It begins.
        begins: bool,
    },
    /// In the end: an event of a log, as `source` tells it.
    Logged {
        /// A node, or the database.
        source: String,
        /// The history that it is part of.
        epoch: String,
        /// What.
        #[serde(flatten)]
        event: EventRecord,
    },
    /// In the end: the last place of a log, as `source` tells it.
    Head {
        /// A node, or the database.
        source: String,
        /// Where.
        #[serde(flatten)]
        last: Place,
        /// When it was asked: whatever was known by then is no later than this place.
        #[serde(default)]
        asked: u64,
    },
    /// In the end: what a user may read of a conversation.
    Member {
        /// Who.
        user: u64,
        /// Where, and the first place.
        #[serde(flatten)]
        first: Place,
        /// The last place, for those who are no member any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
    },
}
