//! Takes connections in, as many as there may be.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::handshake::Protocol;
use super::{Shared, connection};
use crate::model::Source;
use crate::transport::memory::MemoryListener;
use crate::transport::tcp::TcpListener;
use crate::transport::{PeerAddr, Transport};

/// Wait after the operating system refused to hand out a connection, most often for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Memory(MemoryListener),
}

impl Listener {
    async fn accept(&mut self) -> io::Result<Box<dyn Transport>> {
        match self {
            Self::Tcp(listener) => Ok(Box::new(listener.accept().await?)),
            Self::Memory(listener) => Ok(Box::new(listener.accept().await?)),
        }
    }
}

/// Accepts connections until the server drains.
pub(super) async fn run(mut listener: Listener, protocol: Protocol, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok(stream) => admit(stream, &protocol, &shared),
            Err(error) if matches!(&listener, Listener::Memory(_)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "nobody can connect any more");
                return;
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Nothing is gained by asking again at once; connections that end make room.
                tracing::warn!(protocol = protocol.name(), %error, "cannot accept connections; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The connection failed before it was handed out; the listener is fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn admit(stream: Box<dyn Transport>, protocol: &Protocol, shared: &Arc<Shared>) {
    let source = match stream.peer() {
        PeerAddr::Memory(_) => Source::Local,
        peer => peer.ip().map_or(Source::Local, Source::Ip),
    };
    if shared.open.load(Ordering::Relaxed) >= shared.config.max_connections {
        tracing::debug!(?source, "connection refused: the server is full");
        return;
    }
    let permit = match shared.gate.admit(Instant::now(), source) {
        Ok(permit) => permit,
        Err(refusal) => {
            tracing::debug!(?source, %refusal, "connection refused");
            return;
        }
    };
    shared.open.fetch_add(1, Ordering::Relaxed);
    let counted = Counted(Arc::clone(shared));
    let serving = connection::serve(stream, source, protocol.clone(), permit, Arc::clone(shared));
    shared.tasks.spawn(async move {
        let counted = counted;
        // One connection's defect is not the others' end.
        if AssertUnwindSafe(serving).catch_unwind().await.is_err() {
            counted.0.panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!(?source, "a connection's task panicked; the connection was closed");
        }
    });
}

/// An open connection; not any more when dropped.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
