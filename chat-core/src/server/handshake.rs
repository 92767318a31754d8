//! Handshakes, which turn an accepted stream into a stream that carries packets.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[cfg(feature = "tls")]
use super::stream::BufferingStream;
use super::wire::{Protection, Wire};
use super::{Shared, now};
use crate::codec::frame::MAX_GUEST_PACKET_BYTES;
use crate::secure::{MAX_HELLO1, RejectCode, ServerHandshake, ServerKeys, reject};
use crate::transport::Transport;
#[cfg(feature = "tls")]
use crate::transport::tls::TlsAcceptor;

/// Minimum delay that a client is asked to wait after its handshake was rejected as busy, so that
/// it does not retry in a tight loop.
const MIN_RETRY_AFTER: Duration = Duration::from_millis(100);

/// Protocol of a listener or stream, below the packets.
#[derive(Clone, Debug)]
pub(super) enum Protocol {
    Sc1(Arc<ServerKeys>),
    #[cfg(feature = "tls")]
    Tls(Arc<TlsAcceptor>),
    Plain,
}

impl Protocol {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Sc1(_) => "sc1",
            #[cfg(feature = "tls")]
            Self::Tls(_) => "tls",
            Self::Plain => "plain",
        }
    }

    /// Performs the handshake, if the protocol has one, and returns the wire of the connection.
    pub(super) async fn establish(&self, mut stream: Box<dyn Transport>, shared: &Shared) -> io::Result<Wire> {
        match self {
            Self::Plain => Ok(Wire::new(stream, Protection::Stream, MAX_GUEST_PACKET_BYTES)),
            #[cfg(feature = "tls")]
            Self::Tls(acceptor) => {
                // TLS cannot answer "busy" before the key agreement and the signature, which are
                // the expensive part, so the connection is closed.
                shared
                    .admit_handshake(now())
                    .map_err(|_| io::Error::new(io::ErrorKind::ResourceBusy, "too many handshakes"))?;
                let stream = acceptor.accept(stream).await?;
                let peer = stream.peer();
                let stream = BufferingStream::new(stream, peer);
                Ok(Wire::new(Box::new(stream), Protection::Stream, MAX_GUEST_PACKET_BYTES))
            }
            Self::Sc1(keys) => {
                let protection = sc1_handshake(&mut stream, keys, shared).await?;
                Ok(Wire::new(stream, protection, MAX_GUEST_PACKET_BYTES))
            }
        }
    }
}

/// Performs the server's side of the SC1 handshake.
async fn sc1_handshake(stream: &mut Box<dyn Transport>, keys: &ServerKeys, shared: &Shared) -> io::Result<Protection> {
    let mut handshake = ServerHandshake::new();
    let mut buffer = [0; MAX_HELLO1];
    let hello = loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match handshake.feed(buffer.get(..read).unwrap_or_default()) {
            Ok(Some(hello)) => break hello,
            Ok(None) => {}
            Err(error) => {
                if let Some(rejection) = error.reject() {
                    stream.write_all(&rejection).await?;
                }
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    };
    // A handshake beyond the rate is rejected before the key agreement, which is the expensive
    // part.
    if let Err(wait) = shared.admit_handshake(now()) {
        stream
            .write_all(&reject(RejectCode::Busy, wait.max(MIN_RETRY_AFTER)))
            .await?;
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "too many handshakes"));
    }
    let accepted = hello
        .accept(keys, now())
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    stream.write_all(&accepted.reply).await?;
    Ok(Protection::Sc1(Box::new(accepted.channel.split())))
}
