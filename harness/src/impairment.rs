//! [`Impairment`]: a network fault between a node and Redis, MariaDB or its clients.

use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::proxy::{Proxy, Wire};
use crate::{NodeLinks, Peers};
use crate::{SeededRng, pause};

/// Direction in which traffic is blocked, as seen from the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockedDirection {
    /// Traffic to the node and from the node.
    Both,
    /// Traffic to the node.
    In,
    /// Traffic from the node.
    Out,
}

/// A network fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impairment {
    /// Traffic is blocked. Whether the blocked bytes arrive afterwards or are lost is chosen at
    /// random.
    Blocked(BlockedDirection),
    /// Traffic is delayed.
    Slow,
    /// One packet in twenty is lost, and arrives later because TCP retransmits it.
    Lossy,
    /// Bandwidth is low.
    Narrow,
    /// Bytes arrive in small pieces.
    Sliced,
    /// Bits are flipped at random. Allowed only between node and clients, because only their
    /// encrypted connections detect flipped bits.
    Flipped,
    /// Connections are ended repeatedly, each after a random number of bytes.
    Cut,
    /// Packets of the open connections are dropped silently, as by a firewall that has forgotten
    /// the connections.
    Forgotten,
    /// New connections are refused, and open ones reset.
    Refused,
}

impl Peers {
    /// Returns the name of the peers in descriptions of faults.
    const fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Database => "MariaDB",
            Self::RedisAndDatabase => "Redis and MariaDB",
            Self::Clients => "clients",
        }
    }

    /// Returns whether a node needs one of these peers to start.
    const fn is_needed_to_start(self) -> bool {
        matches!(self, Self::Database | Self::RedisAndDatabase)
    }
}

/// Writes the description of a network fault between a node and `peers`.
pub(crate) fn describe(f: &mut fmt::Formatter<'_>, peers: Peers, impairment: Impairment) -> fmt::Result {
    let peers = peers.name();
    match impairment {
        Impairment::Blocked(BlockedDirection::Both) => write!(f, "node cut off from {peers}"),
        Impairment::Blocked(BlockedDirection::In) => write!(f, "node receives nothing from {peers}"),
        Impairment::Blocked(BlockedDirection::Out) => write!(f, "node sends nothing to {peers}"),
        Impairment::Slow => write!(f, "bytes delayed between node and {peers}"),
        Impairment::Lossy => write!(f, "packets lost between node and {peers}"),
        Impairment::Narrow => write!(f, "little bandwidth between node and {peers}"),
        Impairment::Sliced => write!(f, "bytes sliced between node and {peers}"),
        Impairment::Flipped => write!(f, "bits flipped between node and {peers}"),
        Impairment::Cut => write!(f, "connections cut between node and {peers}"),
        Impairment::Forgotten => write!(f, "connections forgotten between node and {peers}"),
        Impairment::Refused => write!(f, "connections refused between node and {peers}"),
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// Number of cuts in one [`Impairment::Cut`].
const CUTS: u32 = 8;

/// Bandwidth of each direction of a connection under [`Impairment::Narrow`], in bytes a second:
/// less than a busy node sends.
const NARROW: NonZeroU32 = NonZeroU32::new(16 * 1024).expect("it is above zero");
/// Size of a piece of [`Impairment::Sliced`], in bytes.
const SLICE: NonZeroU32 = NonZeroU32::new(16).expect("it is above zero");

/// Applies an impairment between one node and `peers`, and heals it; forgotten connections stay
/// forgotten. Blocks the thread meanwhile. Returns false if the impairment had no effect: there was
/// no connection that is not forgotten, or [`Impairment::Cut`] ended none.
///
/// # Errors
/// A proxy cannot listen again, or the impairment cannot be applied to `peers`.
pub(crate) fn impair(links: &NodeLinks, peers: Peers, impairment: Impairment, rng: &mut SeededRng) -> io::Result<bool> {
    // A node may fail to start while its connections to the store are impaired, so it must not be
    // restarted meanwhile.
    let _start_lock = peers.is_needed_to_start().then(|| links.lock_start());
    let proxies = links.to(peers);
    apply(&proxies, peers, impairment, rng)
}

/// Like [`impair`], but between all nodes and `peers` at once.
///
/// # Errors
/// As for [`impair`].
pub(crate) fn impair_all(
    links: &[NodeLinks],
    peers: Peers,
    impairment: Impairment,
    rng: &mut SeededRng,
) -> io::Result<bool> {
    let needed = links.iter().filter(|_| peers.is_needed_to_start());
    let _start_locks: Vec<_> = needed.map(NodeLinks::lock_start).collect();
    let proxies: Vec<&Proxy> = links.iter().flat_map(|links| links.to(peers)).collect();
    apply(&proxies, peers, impairment, rng)
}

fn apply(proxies: &[&Proxy], peers: Peers, impairment: Impairment, rng: &mut SeededRng) -> io::Result<bool> {
    if matches!(
        (peers, impairment),
        (
            Peers::Redis | Peers::Database | Peers::RedisAndDatabase,
            Impairment::Flipped
        )
    ) {
        let text = "bits can be flipped only between node and clients, whose encrypted connections detect it";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    // Further impairments do not affect forgotten connections, so they have an effect only if there
    // is a connection that is not forgotten.
    if proxies.iter().all(|proxy| proxy.connections() <= proxy.forgotten()) {
        return Ok(false);
    }
    let mut had_effect = true;
    let set_all = |up, down| proxies.iter().for_each(|proxy| proxy.set(up, down));
    let pause_up_to = |rng: &mut SeededRng, max_seconds: u32| pause(rng.between(SECOND, max_seconds * SECOND));
    match impairment {
        Impairment::Blocked(direction) => {
            let blocked = if rng.chance(0.5) {
                Wire::frozen()
            } else {
                Wire::dropping()
            };
            let (up, down) = match (direction, peers) {
                (BlockedDirection::Both, _) => (blocked, blocked),
                // Clients connect to the node; the node connects to its other peers.
                (BlockedDirection::In, Peers::Clients) => (blocked, Wire::clear()),
                (BlockedDirection::Out, Peers::Clients) => (Wire::clear(), blocked),
                (BlockedDirection::Out, _) => (blocked, Wire::clear()),
                (BlockedDirection::In, _) => (Wire::clear(), blocked),
            };
            set_all(up, down);
            pause_up_to(rng, 8);
        }
        Impairment::Slow => {
            let slow = Wire::slow(Duration::from_millis(50), Duration::from_millis(100));
            set_all(slow, slow);
            pause_up_to(rng, 6);
        }
        Impairment::Lossy => {
            let lossy = Wire::lossy(0.05);
            set_all(lossy, lossy);
            pause_up_to(rng, 6);
        }
        Impairment::Narrow => {
            let narrow = Wire::narrow(NARROW);
            set_all(narrow, narrow);
            pause_up_to(rng, 6);
        }
        Impairment::Sliced => {
            let slice = Some(SLICE);
            let sliced = Wire { slice, ..Wire::clear() };
            set_all(sliced, sliced);
            pause_up_to(rng, 6);
        }
        Impairment::Flipped => {
            let flips = 0.02; // one packet in fifty
            let flipped = Wire { flips, ..Wire::clear() };
            set_all(flipped, flipped);
            pause_up_to(rng, 6);
        }
        Impairment::Cut => {
            let before = count_ended(proxies);
            for _ in 0..CUTS {
                // Each connection ends once one of its directions has transferred the random number
                // of bytes of that direction, usually in the middle of a packet.
                let (up, down) = (Wire::cut(1 + rng.below(700)), Wire::cut(1 + rng.below(700)));
                set_all(up, down);
                pause(rng.between(SECOND / 10, SECOND / 2));
                set_all(Wire::clear(), Wire::clear());
                pause(rng.between(SECOND / 10, SECOND / 2));
            }
            // With little traffic, possibly no connection has transferred that many bytes.
            had_effect = count_ended(proxies) > before;
        }
        Impairment::Forgotten => {
            proxies.iter().for_each(|proxy| proxy.forget());
            pause_up_to(rng, 6);
        }
        Impairment::Refused => {
            for proxy in proxies {
                proxy.refuse()?;
                proxy.reset();
            }
            pause_up_to(rng, 6);
            for proxy in proxies {
                proxy.accept()?;
            }
        }
    }
    proxies.iter().for_each(|proxy| proxy.clear());
    Ok(had_effect)
}

/// Returns the number of connections of these proxies that have ended so far.
fn count_ended(proxies: &[&Proxy]) -> u64 {
    let ended = |proxy: &&Proxy| {
        // `accepted` is read first, so that a connection that is accepted between the two reads
        // does not count as ended.
        let accepted = proxy.accepted();
        accepted.saturating_sub(proxy.connections())
    };
    proxies.iter().map(ended).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // these are tests

    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::history::Writer;
    use crate::{Fault, inject_network};

    #[test]
    fn fault_that_cannot_take_effect_is_reported() {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let links = NodeLinks::start(nowhere, nowhere).unwrap();
        let mut rng = SeededRng::new(1);
        for impairment in [Impairment::Cut, Impairment::Lossy, Impairment::Narrow] {
            assert!(
                !impair(&links, Peers::Redis, impairment, &mut rng).unwrap(),
                "{impairment:?}"
            );
        }
        assert!(impair(&links, Peers::Database, Impairment::Flipped, &mut rng).is_err());
        let directory = tempfile::tempdir().unwrap();
        let history = Writer::open(&directory.path().join("history")).unwrap();
        for fault in [Fault::Network(Peers::Redis, Impairment::Cut), Fault::KillNode] {
            let error = inject_network(&[], fault, &mut rng, &history).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{fault}");
        }
    }
}
