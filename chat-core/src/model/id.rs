//! Ids of users, devices, conversations, events and nodes; positions in logs, epochs and times.

use std::array::TryFromSliceError;
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use uuid::Uuid;

macro_rules! integer_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

macro_rules! wide_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        /// Reads an id of exactly 16 bytes.
        impl TryFrom<&[u8]> for $name {
            type Error = TryFromSliceError;

            fn try_from(bytes: &[u8]) -> Result<Self, TryFromSliceError> {
                bytes.try_into().map(Self)
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

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ok(Self(Uuid::parse_str(text)?.into_bytes()))
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

integer_id! {
    /// Id of an account. Assigned by the store, from 1; never reused.
    UserId
}
integer_id! {
    /// Id of a conversation: direct, group, or a user's inbox. Assigned by the store, from 1; never
    /// reused.
    ConversationId
}
integer_id! {
    /// Id of a session on this node. Not reused while the node runs.
    SessionId
}
integer_id! {
    /// Id of a connection on this node. Not reused while the node runs.
    ConnectionId
}
integer_id! {
    /// Position of an event in its conversation: from 1, without gaps. 0 is before the first event.
    Seq
}
integer_id! {
    /// Number that identifies a session of a device. Grows with every login and resume, and when a
    /// logout or another change ends the session. Sessions with a lower number are no longer valid.
    SessionEpoch
}
wide_id! {
    /// Id of one installation of a user's client, which chose it at random.
    DeviceId
}
wide_id! {
    /// Globally unique id of an event, assigned by the server (UUIDv7).
    EventId
}
wide_id! {
    /// Idempotency key of a draft or a new group, chosen by its sender and unique per user. A
    /// UUIDv7 starts with the time, so that new keys are neighbours in the store's index of keys,
    /// which makes insertions faster.
    ClientMessageId
}
wide_id! {
    /// Id of a node of a cluster. A node that is restarted may keep its id.
    NodeId
}
wide_id! {
    /// Id of a store and of what it holds. A store gets a new one if it may have lost events: for
    /// example, an operator replaces the id after restoring a backup.
    StoreEpoch
}

impl UserId {
    /// Sender of the events that the system posts. No account has this id.
    pub const SYSTEM: Self = Self(0);
}

impl Seq {
    /// Position before the first event.
    pub const ZERO: Self = Self(0);

    /// Returns the next position.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Returns the previous position, or [`Seq::ZERO`] if there is none.
    #[must_use]
    pub(crate) const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl DeviceId {
    /// An id that no device has.
    pub(crate) const NONE: Self = Self([0; 16]);

    /// Returns a random device id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().into_bytes())
    }
}

impl ClientMessageId {
    /// Returns a new key (UUIDv7).
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::now_v7().into_bytes())
    }
}

impl EventId {
    /// Returns a new event id (UUIDv7).
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::now_v7().into_bytes())
    }
}

impl NodeId {
    /// Returns a random node id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().into_bytes())
    }
}

impl StoreEpoch {
    /// Returns a random epoch.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().into_bytes())
    }
}

/// Wall time in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Returns the time this many seconds after 1970-01-01T00:00:00Z, saturating.
    #[must_use]
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self(0).plus_millis(seconds.saturating_mul(1000))
    }

    /// Returns the whole seconds since 1970-01-01T00:00:00Z; 0 for an earlier time.
    #[must_use]
    pub const fn unix_seconds(self) -> u64 {
        self.millis_since(Self(0)) / 1000
    }

    /// Returns the milliseconds from `earlier` to `self`; 0 if `earlier` is later.
    #[must_use]
    pub(crate) const fn millis_since(self, earlier: Self) -> u64 {
        let difference = self.0.saturating_sub(earlier.0);
        if difference > 0 { difference as u64 } else { 0 }
    }

    /// Returns the time `millis` later, saturating.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        let millis = if millis > i64::MAX as u64 {
            i64::MAX
        } else {
            millis as i64
        };
        Self(self.0.saturating_add(millis))
    }

    /// Returns the time this long before, saturating.
    #[must_use]
    pub(crate) fn before(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis))
    }
}
