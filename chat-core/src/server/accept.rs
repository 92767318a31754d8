//! Accepts connections, within the server's limits.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::coop::unconstrained;
use tokio::time::timeout;

use super::connections::ConnectionGuard;
use super::handshake::Protocol;
use super::readiness_gate::{self, GateWatch};
use super::{Server, Shared, connection, now};
use crate::auth::{ConnectionPermit, ConnectionRefused};
use crate::model::Source;
use crate::panics;
use crate::server::stream::BufferingStream;
use crate::transport::MemoryListener;
use crate::transport::read_header;
use crate::transport::tcp::TcpListener;
use crate::transport::{PeerAddr, Transport};

/// Delay after the operating system failed to accept a connection, usually because no file
/// descriptor was left.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// Maximum number of connections that are taken out of the backlog at once: to serve them before
/// the listener closes, or to close them when no file descriptor is left.
const MAX_WAITING: usize = 256;

/// Source of new connections.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    /// A listener behind a load balancer, whose connections start with a PROXY header.
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

    /// Returns an iterator that accepts the connections in the backlog, and ends when none is left
    /// or one cannot be accepted. Ignores tokio's cooperative budget, which would end the iteration
    /// earlier.
    fn accept_waiting(&self) -> impl Iterator<Item = Box<dyn Transport>> + '_ {
        std::iter::from_fn(|| unconstrained(self.accept()).now_or_never().and_then(Result::ok))
    }

    /// Closes a TCP listener, waits until the readiness gate opens, and returns a new listener. A
    /// memory listener stays open and is returned at once.
    async fn keep_closed(self, gate: &mut GateWatch, protocol: &Protocol, shared: &Arc<Shared>) -> Self {
        match self {
            Self::Tcp(listener) => Self::Tcp(readiness_gate::keep_closed(listener, gate, protocol, shared).await),
            Self::Proxied(listener) => {
                Self::Proxied(readiness_gate::keep_closed(listener, gate, protocol, shared).await)
            }
            Self::Memory(_) => self,
        }
    }
}

/// Accepts connections until the task is cancelled, which the server does when it drains, or until
/// all connectors of a memory listener were dropped. While the readiness gate is closed, a TCP
/// listener is closed too.
pub(super) async fn run(mut listener: Listener, protocol: Protocol, shared: Arc<Shared>) {
    let mut gate = shared.readiness_gate.watch();
    loop {
        tokio::select! {
            // The gate is checked first, so that clients connect to another node.
            biased;
            () = gate.closed(), if !matches!(listener, Listener::Memory(_)) => {}
            () = accept(&listener, &protocol, &shared) => return,
        }
        // Connections in the backlog are accepted first, because closing the listener would reset
        // them.
        for stream in listener.accept_waiting().take(MAX_WAITING) {
            listener.admit(stream, &protocol, &shared);
        }
        listener = listener.keep_closed(&mut gate, &protocol, &shared).await;
    }
}

/// Accepts connections. Ends only for a memory listener, when all its connectors were dropped.
async fn accept(listener: &Listener, protocol: &Protocol, shared: &Arc<Shared>) {
    let mut reserve = ReservedFile::open();
    loop {
        match listener.accept().await {
            Ok(stream) => listener.admit(stream, protocol, shared),
            Err(error) if matches!(listener, Listener::Memory(_)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the connector was dropped");
                return;
            }
            Err(error) if can_accept_at_once(&error) => {}
            Err(error) => {
                if let Some(times) = shared.throttled.accept_failed.count_occurrence(now()) {
                    let error = &error as &dyn std::error::Error;
                    let protocol = protocol.name();
                    tracing::warn!(protocol, times, error, "cannot accept connections; retrying");
                }
                if is_out_of_files(&error) {
                    reserve.turn_away(listener);
                }
                // An immediate retry would fail too. File descriptors become free as connections
                // end.
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}

/// Returns whether the listener still works and can accept the next connection at once: one
/// connection failed before it was accepted, or a signal interrupted the call.
fn can_accept_at_once(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// Returns whether the process (`EMFILE`) or the machine (`ENFILE`) has no file descriptor left.
/// The numbers are the same on Linux, macOS and the BSDs.
fn is_out_of_files(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// A reserved file descriptor. When no other is left, it is used to accept and close waiting
/// connections, so that their clients try another node instead of waiting. `None` if no descriptor
/// could be reserved.
#[derive(Debug)]
struct ReservedFile(Option<File>);

impl ReservedFile {
    fn open() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Accepts and closes the connections in the backlog, at most [`MAX_WAITING`], by means of the
    /// reserved descriptor, which is then reserved again.
    fn turn_away(&mut self, listener: &Listener) {
        self.0 = None;
        let turned_away = listener.accept_waiting().take(MAX_WAITING).count();
        *self = Self::open();
        tracing::debug!(
            turned_away,
            "no file descriptors are left; the waiting connections were closed"
        );
    }
}

impl Server {
    /// Serves a stream that the application accepted, like a connection of a listener. The
    /// connection starts with the first poll of the returned future.
    pub(super) fn serve<S>(
        &self,
        stream: S,
        peer: PeerAddr,
        protocol: Protocol,
    ) -> impl Future<Output = ()> + Send + use<S>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
    {
        let stream = Box::new(BufferingStream::new(stream, peer));
        let (source, shared) = (source_of(peer), Arc::clone(&self.shared));
        async move {
            let _tracked = shared.streams.token();
            if let Protocol::Sc1(keys) = &protocol {
                shared.ensure_rotation(keys);
            }
            if let Some(serving) = serving(stream, source, &protocol, &shared) {
                contain_panics(serving, source, shared).await;
            }
        }
    }
}

/// Serves a connection of a listener in a separate task, or closes it if the server is full or the
/// connection gate refuses it.
pub(super) fn admit(stream: Box<dyn Transport>, protocol: &Protocol, shared: &Arc<Shared>) {
    let source = source_of(stream.peer());
    if let Some(serving) = serving(stream, source, protocol, shared) {
        shared.tasks.spawn(contain_panics(serving, source, Arc::clone(shared)));
    }
}

/// Admits a connection and returns the future that serves it; `None` if the server is full or the
/// connection gate refuses the connection.
fn serving(
    stream: Box<dyn Transport>,
    source: Source,
    protocol: &Protocol,
    shared: &Arc<Shared>,
) -> Option<impl Future<Output = ()> + Send + use<>> {
    let guard = register(source, shared)?;
    let permit = permit(source, shared)?;
    Some(connection::serve(
        stream,
        source,
        protocol.clone(),
        permit,
        guard,
        Arc::clone(shared),
    ))
}

/// Reads the PROXY header of a connection from a load balancer in a separate task, then serves the
/// client named in it, or the load balancer itself if the header names none. Closes the connection
/// if its source is not a trusted proxy, no valid header arrives in time or before the server
/// drains, the server is full, or the connection gate refuses the client.
fn admit_from_proxy(mut stream: Box<dyn Transport>, protocol: &Protocol, shared: &Arc<Shared>) {
    let proxy = source_of(stream.peer());
    let is_trusted = |ip| shared.config.trusted_proxies.iter().any(|network| network.contains(ip));
    if !matches!(proxy, Source::Ip(ip) if is_trusted(ip)) {
        if let Some(connections) = shared.throttled.untrusted_proxies.count_occurrence(now()) {
            tracing::warn!(
                source = %proxy,
                connections,
                "connections to a port for load balancers are refused: their sources are not among the trusted \
                 proxies; `source` is that of the latest connection"
            );
        }
        return;
    }
    let Some(guard) = register(proxy, shared) else { return };
    let (protocol, server) = (protocol.clone(), Arc::clone(shared));
    let serving = async move {
        let reading = timeout(server.config.proxy_header_timeout, read_header(&mut stream));
        let source = match server.draining.run_until_cancelled(reading).await {
            Some(Ok(Ok(peer))) => peer.map_or(proxy, |peer| Source::Ip(peer.ip())),
            // A load balancer that checks whether the port is open sends nothing.
            Some(Ok(Err(error))) if error.kind() != io::ErrorKind::InvalidData => {
                tracing::debug!(source = %proxy, %error, "a connection ended before its PROXY header");
                return;
            }
            Some(Ok(Err(error))) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    source = %proxy,
                    error,
                    "a connection from a trusted proxy has no valid PROXY header; enable the PROXY protocol at the proxy"
                );
                return;
            }
            Some(Err(_)) | None => return,
        };
        if let Some(permit) = permit(source, &server) {
            connection::serve(stream, source, protocol, permit, guard, server).await;
        }
    };
    shared.tasks.spawn(contain_panics(serving, proxy, Arc::clone(shared)));
}

fn source_of(peer: PeerAddr) -> Source {
    peer.ip().map_or(Source::Local, Source::Ip)
}

/// Registers a connection, unless the server has the maximum number of connections.
fn register(source: Source, shared: &Shared) -> Option<ConnectionGuard> {
    let max_connections = shared.config.max_connections;
    let guard = shared.connections.register(max_connections);
    if guard.is_none() {
        tracing::debug!(%source, "connection refused: the server is full");
        if let Some(refused) = shared.throttled.server_full.count_occurrence(now()) {
            tracing::warn!(
                refused,
                max_connections,
                "connections refused: the server has the maximum number of connections"
            );
        }
    }
    guard
}

/// Counts a connection of `source` in the [`ConnectionGate`](crate::auth::ConnectionGate). Returns
/// `None` if the gate refuses the connection.
fn permit(source: Source, shared: &Shared) -> Option<ConnectionPermit> {
    match shared.connection_gate.admit(now(), source) {
        Ok(permit) => Some(permit),
        Err(refusal) => {
            tracing::debug!(%source, %refusal, "connection refused");
            // Other refusals concern a single source, so the operator is not warned.
            if matches!(refusal, ConnectionRefused::NodeFull | ConnectionRefused::EarlyDrop)
                && let Some(refused) = shared.throttled.guests_full.count_occurrence(now())
            {
                let max_unauthenticated = shared.config.connection_limits.max_unauthenticated;
                tracing::warn!(
                    refused,
                    max_unauthenticated,
                    "connections refused: too many connections have not logged in"
                );
            }
            None
        }
    }
}

/// Runs the future of a connection. A panic in it ends this connection only, and is counted and
/// logged.
async fn contain_panics(serving: impl Future<Output = ()> + Send, source: Source, shared: Arc<Shared>) {
    if let Err(panic) = panics::catch(serving).await {
        shared.panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            %source,
            panic = panic.text(),
            "the task of a connection panicked; the connection was closed"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::tcp::TcpOptions;

    #[tokio::test]
    async fn listener_yields_all_waiting_connections_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), TcpOptions::default()).unwrap();
        let connect = || std::net::TcpStream::connect(listener.local_addr()).unwrap();
        let clients: Vec<_> = std::iter::repeat_with(connect).take(MAX_WAITING - 1).collect();
        let listener = Listener::Tcp(listener);
        let _first = listener.accept().await.unwrap();
        assert_eq!(listener.accept_waiting().take(MAX_WAITING).count(), clients.len() - 1);
    }
}
