//! Takes connections in, as many as there may be.

use std::fs::File;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::coop::unconstrained;
use tokio::time::timeout;

use super::connections::ConnectionGuard;
use super::handshake::Protocol;
use super::readiness_gate::{self, GateWatch};
use super::{Shared, connection, now};
use crate::auth::{ConnectionPermit, Refusal};
use crate::model::Source;
use crate::transport::memory::MemoryListener;
use crate::transport::proxy::read_header;
use crate::transport::tcp::TcpListener;
use crate::transport::{PeerAddr, Transport};

/// Wait after the operating system refused to hand out a connection, most often for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// Waiting connections that are looked at in one go.
const AT_ONCE: usize = 256;

/// Where connections come from.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    /// Behind a load balancer.
    Proxied(TcpListener),
    Memory(MemoryListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Transport>> {
        match self {
            Self::Tcp(listener) | Self::Proxied(listener) => Ok(Box::new(listener.accept().await?)),
            Self::Memory(listener) => Ok(Box::new(listener.accept().await?)),
        }
    }

    fn admit(&self, stream: Box<dyn Transport>, protocol: &Protocol, shared: &Arc<Shared>) {
        match self {
            Self::Proxied(_) => admit_from_proxy(stream, protocol, shared),
            Self::Tcp(_) | Self::Memory(_) => admit(stream, protocol, shared),
        }
    }

    /// Whoever is waiting to be accepted now, also if they are more than tokio lets a task have in one go.
    fn waiting(&self) -> impl Iterator<Item = Box<dyn Transport>> + '_ {
        std::iter::from_fn(|| unconstrained(self.accept()).now_or_never().and_then(Result::ok))
    }

    /// Closes it until the doors are open.
    async fn close(self, gate: &mut GateWatch, protocol: &Protocol, shared: &Arc<Shared>) -> Self {
        match self {
            Self::Tcp(listener) => Self::Tcp(readiness_gate::keep_closed(listener, gate, protocol, shared).await),
            Self::Proxied(listener) => {
                Self::Proxied(readiness_gate::keep_closed(listener, gate, protocol, shared).await)
            }
            Self::Memory(_) => self,
        }
    }
}

/// Accepts connections until the server drains. Meanwhile its TCP listeners are closed while its doors are.
pub(super) async fn run(mut listener: Listener, protocol: Protocol, shared: Arc<Shared>) {
    let mut gate = shared.readiness_gate.watch();
    loop {
        tokio::select! {
            // Whoever still comes is better off elsewhere.
            biased;
            () = gate.closed(), if !matches!(listener, Listener::Memory(_)) => {}
            () = accept(&listener, &protocol, &shared) => return,
        }
        // For them it is too late to be refused: they would be cut off.
        for stream in listener.waiting().take(AT_ONCE) {
            listener.admit(stream, &protocol, &shared);
        }
        listener = listener.close(&mut gate, &protocol, &shared).await;
    }
}

/// Accepts connections for as long as there can be any.
async fn accept(listener: &Listener, protocol: &Protocol, shared: &Arc<Shared>) {
    let mut reserve = Reserve::take();
    loop {
        match listener.accept().await {
            Ok(stream) => listener.admit(stream, protocol, shared),
            Err(error) if matches!(listener, Listener::Memory(_)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "nobody can connect any more");
                return;
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if let Some(times) = shared.rejections.not_accepted.hit(now()) {
                    let error = &error as &dyn std::error::Error;
                    let protocol = protocol.name();
                    tracing::warn!(protocol, times, error, "cannot accept connections; trying again");
                }
                if is_out_of_files(&error) {
                    reserve.turn_away(listener);
                }
                // Nothing is gained by asking again at once; connections that end make room.
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

/// The process (`EMFILE`) or the machine (`ENFILE`) has no file descriptor left. The numbers are those of every Unix.
fn is_out_of_files(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// A file descriptor kept for the time when there is no other: with it, those who wait to be accepted are told that there is no
/// room (their connection closes), and go elsewhere instead of waiting for nothing.
#[derive(Debug)]
struct Reserve(Option<File>);

impl Reserve {
    fn take() -> Self {
        Self(File::open("/dev/null").ok())
    }

    fn turn_away(&mut self, listener: &Listener) {
        self.0 = None;
        let turned_away = listener.waiting().take(AT_ONCE).count();
        *self = Self::take();
        tracing::debug!(turned_away, "no file descriptors: closed whoever waited");
    }
}

pub(super) fn admit(stream: Box<dyn Transport>, protocol: &Protocol, shared: &Arc<Shared>) {
    let source = source_of(&*stream);
    let Some(guard) = register(source, shared) else { return };
    let Some(permit) = permit(source, shared) else { return };
    let serving = connection::serve(stream, source, protocol.clone(), permit, guard, Arc::clone(shared));
    spawn_contained(serving, source, shared);
}

/// Lets the proxy say whom it speaks for, then admits that one.
fn admit_from_proxy(mut stream: Box<dyn Transport>, protocol: &Protocol, shared: &Arc<Shared>) {
    let proxy = source_of(&*stream);
    let is_trusted = |ip| shared.config.trusted_proxies.iter().any(|network| network.contains(ip));
    if !matches!(proxy, Source::Ip(ip) if is_trusted(ip)) {
        tracing::debug!(source = ?proxy, "connection refused: not one of the proxies");
        return;
    }
    let Some(guard) = register(proxy, shared) else { return };
    let (protocol, shared_too) = (protocol.clone(), Arc::clone(shared));
    let serving = async move {
        let reading = timeout(shared_too.config.proxy_header_timeout, read_header(&mut stream));
        let source = match shared_too.draining.run_until_cancelled(reading).await {
            Some(Ok(Ok(peer))) => peer.map_or(proxy, |peer| Source::Ip(peer.ip())),
            Some(Ok(Err(error))) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(source = ?proxy, error, "a proxy does not say whom it speaks for; is PROXY switched on there?");
                return;
            }
            Some(Err(_)) | None => return,
        };
        if let Some(permit) = permit(source, &shared_too) {
            connection::serve(stream, source, protocol, permit, guard, shared_too).await;
        }
    };
    spawn_contained(serving, proxy, shared);
}

fn source_of(stream: &dyn Transport) -> Source {
    match stream.peer() {
        PeerAddr::Memory(_) => Source::Local,
        peer => peer.ip().map_or(Source::Local, Source::Ip),
    }
}

/// A place among the connections, if there is one.
fn register(source: Source, shared: &Shared) -> Option<ConnectionGuard> {
    let max_connections = shared.config.max_connections;
    let guard = shared.connections.register(max_connections);
    if guard.is_none() {
        tracing::debug!(?source, "connection refused: the server is full");
        if let Some(refused) = shared.rejections.full.hit(now()) {
            let text = "connections refused: the server has as many as it may have";
            tracing::warn!(refused, max_connections, "{text}");
        }
    }
    guard
}

/// Leave to connect, if this source has it.
fn permit(source: Source, shared: &Shared) -> Option<ConnectionPermit> {
    match shared.gate.admit(now(), source) {
        Ok(permit) => Some(permit),
        Err(refusal) => {
            tracing::debug!(?source, %refusal, "connection refused");
            // Of the others a source has itself to blame.
            if matches!(refusal, Refusal::NodeFull | Refusal::EarlyDrop)
                && let Some(refused) = shared.rejections.crowded.hit(now())
            {
                let most = shared.config.connection_limits.unauthenticated;
                tracing::warn!(refused, most, "connections refused: too many that have not logged in");
            }
            None
        }
    }
}

/// Runs a connection. Its defect is not the others' end.
fn spawn_contained(serving: impl Future<Output = ()> + Send + 'static, source: Source, shared: &Arc<Shared>) {
    let shared_too = Arc::clone(shared);
    shared.tasks.spawn(async move {
        if AssertUnwindSafe(serving).catch_unwind().await.is_err() {
            shared_too.panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!(?source, "a connection's task panicked; the connection was closed");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::tcp::TcpOptions;

    #[tokio::test]
    async fn everybody_who_waits_is_found_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), TcpOptions::default()).unwrap();
        let connect = || std::net::TcpStream::connect(listener.local_addr()).unwrap();
        let clients: Vec<_> = std::iter::repeat_with(connect).take(AT_ONCE - 1).collect();
        let listener = Listener::Tcp(listener);
        let _first = listener.accept().await.unwrap();
        assert_eq!(listener.waiting().take(AT_ONCE).count(), clients.len() - 1);
    }
}
