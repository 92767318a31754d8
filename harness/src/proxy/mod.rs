//! [`Proxy`]: forwards TCP connections and impairs them on command.

mod command;
mod pump;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread::{self, JoinHandle};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use command::{Change, Directions, HELP, ParseProxyCommandError, ProxyCommand};
pub use wire::{Direction, Flow, MAX_LOSS, Wire};

use self::pump::{End, pump};
use self::wire::Rules;
use crate::SeededRng;

/// Maximum number of connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Proxy that forwards TCP connections to a server and impairs them on command. A [`Wire`]
/// describes the impairments of one direction; it applies to open and new connections. The proxy
/// runs on its own thread, so its methods can be called from any thread or task. Dropping the proxy
/// ends all of its connections.
///
/// While the bytes of a direction are held back or discarded, new connections are accepted, but
/// reach the server only once bytes pass in both directions, as if the network had lost their first
/// packets.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    /// Requests to the thread. `None` only while the proxy is being dropped: closing the channel
    /// ends the thread.
    requests: Option<mpsc::Sender<AcceptRequest>>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

/// Numbers of connections of a proxy.
#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    ended: AtomicU64,
    /// Open connections that were [forgotten](Proxy::forget).
    forgotten: AtomicU64,
}

/// Request to accept or refuse connections. The reply is sent once the listener has changed.
#[derive(Debug)]
struct AcceptRequest {
    accepts: bool,
    reply: std_mpsc::SyncSender<io::Result<()>>,
}

impl Proxy {
    /// Listens on a free loopback port and forwards connections to `target`, which may start later.
    ///
    /// # Errors
    /// The proxy cannot listen, or its runtime or its thread cannot be started.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), target)
    }

    /// Like [`start`](Self::start), but listens on `listen`.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn start_on(listen: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let (rules, rules_of_connections) = watch::channel(Rules::to(target));
        let (requests, received_requests) = mpsc::channel(1);
        let (bound, address) = std_mpsc::sync_channel(1);
        let counters = Arc::new(Counters::default());
        let shared = Arc::clone(&counters);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            runtime.block_on(async {
                let listening = bound_socket(listen).and_then(|socket| socket.listen(BACKLOG));
                match listening.and_then(|listener| Ok((listener.local_addr()?, listener))) {
                    Ok((address, listener)) => {
                        // This cannot fail, because `start_on` waits for the address.
                        let _ = bound.send(Ok(address));
                        let listener = ListenerState::Open(listener);
                        serve(listener, address, rules_of_connections, received_requests, shared).await;
                    }
                    Err(error) => drop(bound.send(Err(error))),
                }
            });
        })?;
        let address = address.recv().map_err(io::Error::other)??;
        Ok(Self {
            address,
            rules,
            requests: Some(requests),
            counters,
            thread: Some(thread),
        })
    }

    /// Returns the address on which the proxy listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the server that new connections are forwarded to. Connections that have reached a
    /// server keep it.
    pub fn set_target(&self, target: SocketAddr) {
        self.rules.send_modify(|rules| rules.target = target);
    }

    /// Returns the wires of both directions: [`Direction::Up`], then [`Direction::Down`].
    #[must_use]
    pub fn wires(&self) -> (Wire, Wire) {
        let rules = self.rules.borrow();
        (rules.up, rules.down)
    }

    /// Replaces the wires of both directions. The change also applies to bytes in flight.
    ///
    /// # Panics
    /// If a share or a time is out of the range of its field in [`Wire`].
    pub fn set(&self, up: Wire, down: Wire) {
        for wire in [&up, &down] {
            assert!(
                wire.is_valid(),
                "a share or a time of this wire is out of range: {wire}"
            );
        }
        self.rules.send_modify(|rules| {
            (rules.up, rules.down) = (up, down);
            rules.version += 1;
            rules.since = Instant::now();
        });
    }

    /// Sets the wires of both directions to `wire`.
    ///
    /// # Panics
    /// As for [`set`](Self::set).
    pub fn set_both(&self, wire: Wire) {
        self.set(wire, wire);
    }

    /// Ends the impairments of both directions. Forgotten connections stay forgotten, and if new
    /// connections are refused, they stay refused.
    pub fn clear(&self) {
        self.set_both(Wire::clear());
    }

    /// Resets all open connections. New connections are not affected.
    pub fn reset(&self) {
        self.rules.send_modify(|rules| rules.resets += 1);
    }

    /// Forgets all open connections, as a restarted firewall does: no further byte of them arrives,
    /// and neither side receives an end or a reset until [`reset`](Self::reset) is called or the
    /// proxy is dropped. New connections are not affected.
    pub fn forget(&self) {
        self.rules.send_modify(|rules| rules.forgets += 1);
    }

    /// Refuses new connections from now on. Open connections continue.
    ///
    /// # Errors
    /// The port cannot be bound again, another thread calls `refuse` or `accept` at the same time,
    /// or the proxy has ended.
    pub fn refuse(&self) -> io::Result<()> {
        self.set_accepting(false)
    }

    /// Accepts new connections again.
    ///
    /// # Errors
    /// The proxy cannot listen, another thread calls `refuse` or `accept` at the same time, or the
    /// proxy has ended.
    pub fn accept(&self) -> io::Result<()> {
        self.set_accepting(true)
    }

    /// Returns the number of connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.counters.accepted.load(Ordering::Relaxed)
    }

    /// Returns the number of open connections.
    #[must_use]
    pub fn connections(&self) -> u64 {
        // `ended` is read first, so that it does not exceed `accepted`.
        let ended = self.counters.ended.load(Ordering::Acquire);
        self.counters.accepted.load(Ordering::Relaxed).saturating_sub(ended)
    }

    /// Returns the number of open connections that were forgotten.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.counters.forgotten.load(Ordering::Relaxed)
    }

    /// Returns whether [`refuse`](Self::refuse) has succeeded and [`accept`](Self::accept) has not
    /// succeeded since.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.rules.borrow().refuses
    }

    fn set_accepting(&self, accepts: bool) -> io::Result<()> {
        let (reply, answer) = std_mpsc::sync_channel(1);
        let ended = || io::Error::other("the proxy has ended");
        // The channel holds one request. If two threads call at once, one of them may get an error.
        let requests = self.requests.as_ref().ok_or_else(ended)?;
        requests
            .try_send(AcceptRequest { accepts, reply })
            .map_err(io::Error::other)?;
        answer.recv().map_err(|_| ended())??;
        self.rules.send_modify(|rules| rules.refuses = !accepts);
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread is not reported here. Since the panic, no byte has passed, and
            // `refuse` and `accept` have returned errors.
            let _ = thread.join();
        }
    }
}

/// Returns a socket that is bound to `address` but does not listen: connections are refused. While
/// the socket is open, a socket without `SO_REUSEADDR` cannot be bound to the port.
fn bound_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Listening socket of a proxy, and whether it accepts connections.
enum ListenerState {
    /// Connections are accepted.
    Open(TcpListener),
    /// The port is bound, and connections are refused.
    Closed(TcpSocket),
    /// There is no socket, because the last change failed. Connections are refused.
    Failed,
}

impl ListenerState {
    /// Accepts the next connection. Waits forever while connections are refused.
    async fn next(&self) -> TcpStream {
        loop {
            match self {
                Self::Open(listener) => {
                    if let Ok((stream, _)) = listener.accept().await {
                        return stream;
                    }
                    // Most likely the process has too many open files. Other connections have to
                    // end first, on this thread.
                    tokio::task::yield_now().await;
                }
                Self::Closed(_) | Self::Failed => std::future::pending().await,
            }
        }
    }

    /// Accepts or refuses connections from now on. After an error, the state is
    /// [`Failed`](Self::Failed).
    fn change(&mut self, address: SocketAddr, accepts: bool) -> io::Result<()> {
        *self = match (std::mem::replace(self, Self::Failed), accepts) {
            (Self::Closed(socket), true) => Self::Open(socket.listen(BACKLOG)?),
            (Self::Open(listener), false) => {
                drop(listener);
                Self::Closed(bound_socket(address)?)
            }
            (Self::Failed, true) => Self::Open(bound_socket(address)?.listen(BACKLOG)?),
            (Self::Failed, false) => Self::Closed(bound_socket(address)?),
            (unchanged, _) => unchanged,
        };
        Ok(())
    }
}

/// Accepts, counts and forwards connections, and executes requests, until `requests` is closed.
async fn serve(
    mut listener: ListenerState,
    address: SocketAddr,
    rules: watch::Receiver<Rules>,
    mut requests: mpsc::Receiver<AcceptRequest>,
    counters: Arc<Counters>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Requests come first, so that they apply to every connection accepted after them.
            biased;
            request = requests.recv() => match request {
                Some(request) => drop(request.reply.send(listener.change(address, request.accepts))),
                None => return,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {
                counters.ended.fetch_add(1, Ordering::Release);
            }
            client = listener.next() => {
                let number = counters.accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(forward(client, rules.clone(), SeededRng::new(number), Arc::clone(&counters)));
            }
        }
    }
}

/// Guard that counts a forgotten connection until the connection ends.
struct Forgotten<'a>(&'a AtomicU64);

impl<'a> Forgotten<'a> {
    fn new(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Forwards one connection until both directions have ended, or the connection is cut or reset. A
/// connection that was forgotten stays open, without being forwarded, until it is reset.
async fn forward(mut client: TcpStream, mut rules: watch::Receiver<Rules>, rng: SeededRng, counters: Arc<Counters>) {
    let Rules { resets, forgets, .. } = *rules.borrow();
    let (mut resetting, mut forgetting) = (rules.clone(), rules.clone());
    // An error means that the proxy has ended.
    let was_reset = async { drop(resetting.wait_for(|rules| rules.resets != resets).await) };
    let was_forgotten = async { drop(forgetting.wait_for(|rules| rules.forgets != forgets).await) };
    let mut server = None;
    let forwarded = async {
        let target = rules.wait_for(Rules::is_open).await.map_err(|_| End::Reset)?.target;
        let server = server.insert(TcpStream::connect(target).await.map_err(|_| End::Reset)?);
        // Disables Nagle's algorithm, so that only the wire determines sizes and delays.
        client.set_nodelay(true).map_err(|_| End::Reset)?;
        server.set_nodelay(true).map_err(|_| End::Reset)?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pump(from_client, to_server, Direction::Up, rules.clone(), rng.clone());
        let down = pump(from_server, to_client, Direction::Down, rules.clone(), rng);
        tokio::try_join!(up, down).map(drop)
    };
    let forwarded = async {
        // Once the connection is forgotten, `forwarded` is kept but not polled: dropping it would
        // close the connection to the server if that is still being established.
        let mut forwarded = std::pin::pin!(forwarded);
        tokio::select! {
            biased;
            () = was_forgotten => {
                let _guard = Forgotten::new(&counters.forgotten);
                std::future::pending().await
            }
            end = &mut forwarded => end,
        }
    };
    let end = tokio::select! {
        biased;
        () = was_reset => Err(End::Reset),
        end = forwarded => end,
    };
    if let Err(End::Reset) = end {
        for stream in [Some(client), server].into_iter().flatten() {
            // If this fails, the stream is closed without a reset.
            let _ = stream.set_zero_linger();
        }
    }
}
