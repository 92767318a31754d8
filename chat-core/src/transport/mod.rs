//! Sockets and in-process pipes, as streams of bytes with a peer's address.
//!
//! Nothing here knows what the bytes mean: the secure channel ([`crate::secure`]) or TLS comes on top. One protocol per port; no stream is
//! ever inspected to guess what the peer speaks.

mod peer;
mod stream;

pub mod memory;
pub mod proxy;
pub mod tcp;
#[cfg(feature = "tls")]
pub mod tls;

use std::fmt;

use tokio::io::{AsyncRead, AsyncWrite};

pub use peer::PeerAddr;
pub use stream::Stream;

/// A stream of bytes to and from one peer, made to be read and written by one task (or split by [`tokio::io::split`]).
///
/// Dropping it closes it; shutting down the writing side flushes first.
pub trait Transport: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin + 'static {
    /// Who is at the other end, for limits and logs; never an identity.
    fn peer(&self) -> PeerAddr;
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn peer(&self) -> PeerAddr {
        T::peer(self)
    }
}
