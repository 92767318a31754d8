//! A push that is encoded at most once and shared by all its recipients.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::codec::server::encode_push;
use crate::model::Push;

/// One push, shared by all sessions that receive it: a clone only increments a reference count. The
/// push is encoded at most once, when its bytes are first needed.
#[derive(Clone)]
pub struct SharedPush(Arc<Inner>);

struct Inner {
    push: Push,
    frame: OnceLock<Bytes>,
    size: usize,
}

/// Approximate size of an event's header fields, in bytes.
const EVENT_OVERHEAD: usize = 96;
/// Approximate size of a push other than an event, such as a receipt, in bytes.
const OTHER_PUSH_SIZE: usize = 48;

impl SharedPush {
    /// Creates a shared push, which is not encoded yet.
    #[must_use]
    pub fn new(push: Push) -> Self {
        let size = match &push {
            Push::Event(event) => event.body.len() + EVENT_OVERHEAD,
            _ => OTHER_PUSH_SIZE,
        };
        Self(Arc::new(Inner {
            push,
            frame: OnceLock::new(),
            size,
        }))
    }

    /// Returns the push.
    #[must_use]
    pub fn push(&self) -> &Push {
        &self.0.push
    }

    /// Returns the push as a frame of the client protocol.
    #[must_use]
    pub fn frame(&self) -> Bytes {
        self.0.frame.get_or_init(|| encode_push(&self.0.push)).clone()
    }

    /// Returns the approximate number of bytes that the push takes in a queue.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.size
    }
}

impl fmt::Debug for SharedPush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedPush").field(&self.0.push).finish()
    }
}
