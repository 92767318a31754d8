//! [`Proxy`]: a network that misbehaves on command.

mod command;
mod pump;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as sync;
use std::thread::{self, JoinHandle};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use command::{Change, HELP, ParseProxyCommandError, ProxyCommand, Side};
pub use wire::{Direction, Flow, MAX_LOSS, Wire};

use self::pump::{End, pump};
use self::wire::Rules;
use crate::SeededRng;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Forwards TCP connections to a server and impairs them on command. Commands affect open and new
/// connections. The proxy runs on a thread of its own, so its methods can be called from any thread
/// or task. Dropping it ends all of its connections.
///
/// While a direction is blocked, new connections are accepted but reach the server only once both
/// directions pass, as if the network had lost their first packets.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    /// `None` only while the proxy is dropped.
    door: Option<mpsc::Sender<Opening>>,
    count: Arc<Count>,
    thread: Option<JoinHandle<()>>,
}

/// Counters of a proxy.
#[derive(Debug, Default)]
struct Count {
    accepted: AtomicU64,
    ended: AtomicU64,
    /// Open connections that were forgotten.
    forgotten: AtomicU64,
}

/// Request to accept or refuse connections, answered once that is done.
#[derive(Debug)]
struct Opening {
    accepts: bool,
    done: sync::SyncSender<io::Result<()>>,
}

impl Proxy {
    /// Listens on a free port of this machine, for a server that may start later.
    ///
    /// # Errors
    /// The operating system's.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), target)
    }

    /// The same, listening there.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub fn start_on(listen: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let (rules, ruled) = watch::channel(Rules::to(target));
        let (door, orders) = mpsc::channel(1);
        let (bound, address) = sync::sync_channel(1);
        let count = Arc::new(Count::default());
        let counts = Arc::clone(&count);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            runtime.block_on(async {
                let listening = socket(listen).and_then(|socket| socket.listen(BACKLOG));
                match listening.and_then(|listener| Ok((listener.local_addr()?, listener))) {
                    Ok((address, listener)) => {
                        // The thread that created the proxy waits for the address.
                        let _ = bound.send(Ok(address));
                        serve(Door::Open(listener), address, ruled, orders, counts).await;
                    }
                    Err(error) => drop(bound.send(Err(error))),
                }
            });
        })?;
        let address = address.recv().map_err(io::Error::other)??;
        Ok(Self {
            address,
            rules,
            door: Some(door),
            count,
            thread: Some(thread),
        })
    }

    /// Returns the address on which the proxy listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads new connections to another server.
    pub fn aim(&self, target: SocketAddr) {
        self.rules.send_modify(|rules| rules.target = target);
    }

    /// Returns the wires of both directions: up, down.
    #[must_use]
    pub fn wires(&self) -> (Wire, Wire) {
        let rules = self.rules.borrow();
        (rules.up, rules.down)
    }

    /// Changes the wires of both directions, also for bytes in flight.
    ///
    /// # Panics
    /// If a share or a time is out of the range of its field in [`Wire`].
    pub fn set(&self, up: Wire, down: Wire) {
        for wire in [&up, &down] {
            assert!(
                wire.is_possible(),
                "a share or a time of this wire is out of range: {wire}"
            );
        }
        self.rules.send_modify(|rules| {
            (rules.up, rules.down) = (up, down);
            rules.version += 1;
            rules.since = Instant::now();
        });
    }

    /// Sets both wires to `wire`.
    pub fn both(&self, wire: Wire) {
        self.set(wire, wire);
    }

    /// Ends all impairments. Connections stay refused, if they were.
    pub fn clear(&self) {
        self.both(Wire::clear());
    }

    /// Resets all open connections.
    pub fn reset(&self) {
        self.rules.send_modify(|rules| rules.resets += 1);
    }

    /// Forgets all present connections, as a restarted firewall does: their bytes are discarded
    /// from now on, without a reset. New connections are not affected.
    pub fn forget(&self) {
        self.rules.send_modify(|rules| rules.losses += 1);
    }

    /// Refuses new connections from now on.
    ///
    /// # Errors
    /// The operating system's.
    pub fn refuse(&self) -> io::Result<()> {
        self.order(false)
    }

    /// Accepts connections again.
    ///
    /// # Errors
    /// The operating system's.
    pub fn accept(&self) -> io::Result<()> {
        self.order(true)
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.count.accepted.load(Ordering::Relaxed)
    }

    /// Returns the number of open connections.
    #[must_use]
    pub fn connections(&self) -> u64 {
        // Read first, so that connections never seem to have ended before they were accepted.
        let ended = self.count.ended.load(Ordering::Acquire);
        self.count.accepted.load(Ordering::Relaxed).saturating_sub(ended)
    }

    /// Returns the number of open connections that were forgotten.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.count.forgotten.load(Ordering::Relaxed)
    }

    /// Returns whether new connections are refused.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.rules.borrow().refuses
    }

    fn order(&self, accepts: bool) -> io::Result<()> {
        let (done, answer) = sync::sync_channel(1);
        let ended = || io::Error::other("the proxy has ended");
        // The channel holds one request. If two threads call at once, one of them gets an error.
        let door = self.door.as_ref().ok_or_else(ended)?;
        door.try_send(Opening { accepts, done }).map_err(io::Error::other)?;
        answer.recv().map_err(|_| ended())??;
        self.rules.send_modify(|rules| rules.refuses = !accepts);
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.door = None;
        if let Some(thread) = self.thread.take() {
            // If the thread has panicked, callers have seen errors before.
            let _ = thread.join();
        }
    }
}

/// Returns a socket that is bound to `address` but does not listen: connections are refused, and no
/// other process gets the port.
fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

enum Door {
    Open(TcpListener),
    Shut(TcpSocket),
    /// Between the two, or after an error.
    Gone,
}

impl Door {
    async fn next(&self) -> TcpStream {
        loop {
            match self {
                Self::Open(listener) => {
                    if let Ok((stream, _)) = listener.accept().await {
                        return stream;
                    }
                    // Out of files, most likely: others have to end first, which takes turns of
                    // this thread.
                    tokio::task::yield_now().await;
                }
                Self::Shut(_) | Self::Gone => std::future::pending().await,
            }
        }
    }

    fn change(&mut self, address: SocketAddr, accepts: bool) -> io::Result<()> {
        *self = match (std::mem::replace(self, Self::Gone), accepts) {
            (Self::Shut(socket), true) => Self::Open(socket.listen(BACKLOG)?),
            (Self::Open(listener), false) => {
                drop(listener);
                Self::Shut(socket(address)?)
            }
            (Self::Gone, true) => Self::Open(socket(address)?.listen(BACKLOG)?),
            (Self::Gone, false) => Self::Shut(socket(address)?),
            (same, _) => same,
        };
        Ok(())
    }
}

async fn serve(
    mut door: Door,
    address: SocketAddr,
    rules: watch::Receiver<Rules>,
    mut orders: mpsc::Receiver<Opening>,
    count: Arc<Count>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Requests come first: connections that arrive after one must find it done.
            biased;
            order = orders.recv() => match order {
                Some(order) => drop(order.done.send(door.change(address, order.accepts))),
                None => return,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {
                count.ended.fetch_add(1, Ordering::Release);
            }
            client = door.next() => {
                let number = count.accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(carry(client, rules.clone(), SeededRng::new(number), Arc::clone(&count)));
            }
        }
    }
}

/// A connection that was forgotten, for as long as it is there.
struct Forgotten<'a>(&'a AtomicU64);

impl<'a> Forgotten<'a> {
    fn counted(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Carries one connection until it ends.
async fn carry(mut client: TcpStream, mut rules: watch::Receiver<Rules>, rng: SeededRng, count: Arc<Count>) {
    let Rules { resets, losses, .. } = *rules.borrow();
    let (mut resetting, mut forgetting) = (rules.clone(), rules.clone());
    // An error means that the proxy ends.
    let was_reset = async { drop(resetting.wait_for(|rules| rules.resets != resets).await) };
    let was_forgotten = async { drop(forgetting.wait_for(|rules| rules.losses != losses).await) };
    let mut server = None;
    let carried = async {
        let target = rules.wait_for(Rules::is_open).await.map_err(|_| End::Reset)?.target;
        let server = server.insert(TcpStream::connect(target).await.map_err(|_| End::Reset)?);
        // Packets are small or late only if the wire says so, never because of the kernel.
        client.set_nodelay(true).map_err(|_| End::Reset)?;
        server.set_nodelay(true).map_err(|_| End::Reset)?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pump(from_client, to_server, Direction::Up, rules.clone(), rng.clone());
        let down = pump(from_server, to_client, Direction::Down, rules.clone(), rng);
        tokio::try_join!(up, down).map(drop)
    };
    let carried = async {
        // The future is kept although it is not polled any longer: dropping it would close a
        // connection that is being established.
        let mut carried = std::pin::pin!(carried);
        tokio::select! {
            biased;
            () = was_forgotten => {
                let _counted = Forgotten::counted(&count.forgotten);
                std::future::pending().await
            }
            end = &mut carried => end,
        }
    };
    let end = tokio::select! {
        biased;
        () = was_reset => Err(End::Reset),
        end = carried => end,
    };
    if let Err(End::Reset) = end {
        for stream in [Some(client), server].into_iter().flatten() {
            // If this fails, the stream is closed all the same.
            let _ = stream.set_zero_linger();
        }
    }
}
