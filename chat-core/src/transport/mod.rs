//! Byte streams: TCP sockets, pipes within the process, streams over messages such as those of a
//! WebSocket, and TLS over any of these. A [`Transport`] is a byte stream together with the address
//! of its peer.
//!
//! Apart from TLS and PROXY headers, this module does not interpret the bytes; the secure channel
//! ([`crate::secure`]) is a layer above. Each listener has one protocol; no stream is inspected to
//! guess which protocol the peer uses.

mod message;
mod peer;
mod stream;

mod memory;
#[cfg(feature = "server")]
mod proxy;
#[cfg(not(feature = "unstable"))]
pub(crate) mod tcp;
#[cfg(feature = "unstable")]
pub mod tcp;
#[cfg(feature = "tls")]
pub mod tls;

use std::fmt;

use tokio::io::{AsyncRead, AsyncWrite};

/// Items that are public only with the feature `unstable`.
mod internals {
    pub use super::memory::{MemoryListener, PIPE_CAPACITY, listener, pipe};
    #[cfg(feature = "server")]
    pub use super::proxy::read_header;
}

#[cfg(not(feature = "unstable"))]
pub(crate) use internals::*;
#[cfg(feature = "unstable")]
pub use internals::*;
pub use memory::{MemoryConnector, MemoryTransport};
pub use message::MessageStream;
pub use peer::PeerAddr;
#[cfg(feature = "server")]
pub use proxy::{InvalidNetwork, Network};
pub use stream::Stream;

/// Byte stream to and from one peer. Use [`tokio::io::split`] to read and write it in different
/// tasks.
///
/// Dropping the stream closes it. Shutting down the writing side flushes it first.
pub trait Transport: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin + 'static {
    /// Returns the address of the peer, for limits and logs. An address is no proof of identity.
    fn peer(&self) -> PeerAddr;
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn peer(&self) -> PeerAddr {
        T::peer(self)
    }
}
