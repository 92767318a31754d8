//! Names of things: users, devices, conversations, events.

use std::fmt;

use uuid::Uuid;

macro_rules! integer_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! wide_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// Reads an id from exactly 16 bytes.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Uuid::from_bytes(self.0).hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ok(Self(Uuid::parse_str(text)?.into_bytes()))
            }
        }
    };
}

integer_id! {
    /// An account. Given by the store, from 1, never reused.
    UserId
}
integer_id! {
    /// A conversation: direct, group, or a user's inbox. Given by the store, from 1, never reused.
    ConversationId
}
integer_id! {
    /// A session on this node. Never reused while the node runs.
    SessionId
}
integer_id! {
    /// A connection on this node, from accept to close. Never reused while the node runs.
    ConnectionId
}
integer_id! {
    /// Place of an event in its conversation: from 1, without gaps. 0 is "before the first".
    Seq
}
integer_id! {
    /// Which login of a device a session belongs to. Grows with every login, so that an older session is told
    /// from the live one (fencing).
    SessionEpoch
}
wide_id! {
    /// One installation of a user's client, chosen at random by it.
    DeviceId
}
wide_id! {
    /// Global name of an event, given by the server (UUIDv7).
    EventId
}
wide_id! {
    /// The sender's idempotency key of one logical send, unique per user. A UUIDv7 keeps the store's index local.
    ClientMessageId
}
wide_id! {
    /// One server process of a cluster.
    NodeId
}
wide_id! {
    /// Names the store's history; changes when history may have gone backwards, as after a restore.
    StoreEpoch
}

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The place before this one; stays at [`Seq::ZERO`].
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl DeviceId {
    /// A new random device id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().into_bytes())
    }
}

impl ClientMessageId {
    /// A new id for one logical send.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::now_v7().into_bytes())
    }
}

impl EventId {
    /// A new event id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::now_v7().into_bytes())
    }
}

impl NodeId {
    /// A new random node id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().into_bytes())
    }
}

impl StoreEpoch {
    /// A new random epoch.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().into_bytes())
    }
}

/// Wall time in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Milliseconds from `earlier` to `self`; 0 if `earlier` is later.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> u64 {
        let difference = self.0.saturating_sub(earlier.0);
        if difference > 0 { difference as u64 } else { 0 }
    }

    /// `self` moved by `millis` into the future, saturating.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        let millis = if millis > i64::MAX as u64 {
            i64::MAX
        } else {
            millis as i64
        };
        Self(self.0.saturating_add(millis))
    }
}
