//! Network faults between a node and its services or clients.

use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::proxy::{Proxy, Wire};
use crate::{Endpoint, NodeLinks};
use crate::{SeededRng, pause};

/// Direction in which traffic is blocked, as seen from the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both directions.
    Both,
    /// To the node.
    In,
    /// From the node.
    Out,
}

/// A network fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impairment {
    /// Traffic is blocked. By chance it arrives afterwards, or never.
    Apart(Direction),
    /// Traffic is delayed.
    Slow,
    /// One packet in twenty is lost.
    Lossy,
    /// Little bandwidth.
    Narrow,
    /// Data arrive in small pieces.
    Sliced,
    /// Bits are flipped now and then. Only between node and clients, whose channel detects it.
    Flipped,
    /// Connections are cut in the middle of a record, again and again.
    Cut,
    /// A firewall forgets open connections and drops their packets silently.
    Forgotten,
    /// New connections are refused, and open ones reset.
    Refused,
}

impl Endpoint {
    const fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Database => "MariaDB",
            Self::Both => "Redis and MariaDB",
            Self::Clients => "clients",
        }
    }

    /// Returns whether a node needs it to start.
    const fn is_needed_to_start(self) -> bool {
        matches!(self, Self::Database | Self::Both)
    }
}

/// Writes the name of a fault.
pub(crate) fn describe(f: &mut fmt::Formatter<'_>, endpoint: Endpoint, impairment: Impairment) -> fmt::Result {
    let endpoint = endpoint.name();
    match impairment {
        Impairment::Apart(Direction::Both) => write!(f, "node cut off from {endpoint}"),
        Impairment::Apart(Direction::In) => write!(f, "node receives nothing from {endpoint}"),
        Impairment::Apart(Direction::Out) => write!(f, "node sends nothing to {endpoint}"),
        Impairment::Slow => write!(f, "slow between node and {endpoint}"),
        Impairment::Lossy => write!(f, "lossy between node and {endpoint}"),
        Impairment::Narrow => write!(f, "little bandwidth between node and {endpoint}"),
        Impairment::Sliced => write!(f, "sliced between node and {endpoint}"),
        Impairment::Flipped => write!(f, "bits flipped between node and {endpoint}"),
        Impairment::Cut => write!(f, "connections cut between node and {endpoint}"),
        Impairment::Forgotten => write!(f, "connections forgotten between node and {endpoint}"),
        Impairment::Refused => write!(f, "node refused by {endpoint}"),
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// Number of cuts in one [`Impairment::Cut`].
const CUTS: u32 = 8;

/// Bandwidth of [`Impairment::Narrow`], in bytes a second: less than a busy node sends.
const NARROW: NonZeroU32 = NonZeroU32::new(16 * 1024).expect("it is above zero");
/// Size of a piece of [`Impairment::Sliced`], in bytes.
const SLICE: NonZeroU32 = NonZeroU32::new(16).expect("it is above zero");

/// Applies the fault between one node and `endpoint`, and heals it. Blocks. Returns whether any
/// connection was affected.
///
/// # Errors
/// A proxy cannot listen again, or the fault cannot be applied to `endpoint`.
pub(crate) fn impair(
    links: &NodeLinks,
    endpoint: Endpoint,
    impairment: Impairment,
    rng: &mut SeededRng,
) -> io::Result<bool> {
    let _held = endpoint.is_needed_to_start().then(|| links.hold());
    let proxies = links.to(endpoint);
    apply(&proxies, endpoint, impairment, rng)
}

/// Like [`impair`], with all nodes at once.
///
/// # Errors
/// As for [`impair`].
pub(crate) fn impair_all(
    links: &[NodeLinks],
    endpoint: Endpoint,
    impairment: Impairment,
    rng: &mut SeededRng,
) -> io::Result<bool> {
    let needed = links.iter().filter(|_| endpoint.is_needed_to_start());
    let _held: Vec<_> = needed.map(NodeLinks::hold).collect();
    let proxies: Vec<&Proxy> = links.iter().flat_map(|links| links.to(endpoint)).collect();
    apply(&proxies, endpoint, impairment, rng)
}

fn apply(proxies: &[&Proxy], endpoint: Endpoint, impairment: Impairment, rng: &mut SeededRng) -> io::Result<bool> {
    if matches!(
        (endpoint, impairment),
        (
            Endpoint::Redis | Endpoint::Database | Endpoint::Both,
            Impairment::Flipped
        )
    ) {
        let text = "bits can be flipped only between node and clients, whose channel detects it";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    // A forgotten connection does not notice any other fault.
    if proxies.iter().all(|proxy| proxy.connections() <= proxy.forgotten()) {
        return Ok(false);
    }
    let mut happened = true;
    let each = |up, down| proxies.iter().for_each(|proxy| proxy.set(up, down));
    let lasts = |rng: &mut SeededRng, most: u32| pause(rng.between(SECOND, most * SECOND));
    match impairment {
        Impairment::Apart(ways) => {
            let shut = if rng.chance(0.5) { Wire::waiting() } else { Wire::hole() };
            let (up, down) = match (ways, endpoint) {
                (Direction::Both, _) => (shut, shut),
                // Clients connect to the node; the node connects to the others.
                (Direction::In, Endpoint::Clients) => (shut, Wire::clear()),
                (Direction::Out, Endpoint::Clients) => (Wire::clear(), shut),
                (Direction::Out, _) => (shut, Wire::clear()),
                (Direction::In, _) => (Wire::clear(), shut),
            };
            each(up, down);
            lasts(rng, 8);
        }
        Impairment::Slow => {
            let slow = Wire::slow(Duration::from_millis(50), Duration::from_millis(100));
            each(slow, slow);
            lasts(rng, 6);
        }
        Impairment::Lossy => {
            let lossy = Wire::lossy(0.05);
            each(lossy, lossy);
            lasts(rng, 6);
        }
        Impairment::Narrow => {
            let narrow = Wire::narrow(NARROW);
            each(narrow, narrow);
            lasts(rng, 6);
        }
        Impairment::Sliced => {
            let slice = Some(SLICE);
            let sliced = Wire { slice, ..Wire::clear() };
            each(sliced, sliced);
            lasts(rng, 6);
        }
        Impairment::Flipped => {
            let flips = 0.02;
            let flipped = Wire { flips, ..Wire::clear() };
            each(flipped, flipped);
            lasts(rng, 6);
        }
        Impairment::Cut => {
            let before = ended(proxies);
            for _ in 0..CUTS {
                // Each direction at another byte, in this record or one of the next.
                let (up, down) = (Wire::cut(1 + rng.below(700)), Wire::cut(1 + rng.below(700)));
                each(up, down);
                pause(rng.between(SECOND / 10, SECOND / 2));
                each(Wire::clear(), Wire::clear());
                pause(rng.between(SECOND / 10, SECOND / 2));
            }
            // With little traffic, no connection may have reached the byte where it was to be cut.
            happened = ended(proxies) > before;
        }
        Impairment::Forgotten => {
            proxies.iter().for_each(|proxy| proxy.forget());
            lasts(rng, 6);
        }
        Impairment::Refused => {
            for proxy in proxies {
                proxy.refuse()?;
                proxy.reset();
            }
            lasts(rng, 6);
            for proxy in proxies {
                proxy.accept()?;
            }
        }
    }
    proxies.iter().for_each(|proxy| proxy.clear());
    Ok(happened)
}

/// Returns the number of connections that have ended.
fn ended(proxies: &[&Proxy]) -> u64 {
    let of = |proxy: &&Proxy| {
        // In this order, a connection accepted in between does not count as ended.
        let accepted = proxy.accepted();
        accepted.saturating_sub(proxy.connections())
    };
    proxies.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // these are tests

    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::history::Writer;
    use crate::{Fault, inject_network};

    #[test]
    fn fault_without_connections_is_reported_as_not_injected() {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let links = NodeLinks::start(nowhere, nowhere).unwrap();
        let mut rng = SeededRng::new(1);
        for impairment in [Impairment::Cut, Impairment::Lossy, Impairment::Narrow] {
            assert!(
                !impair(&links, Endpoint::Redis, impairment, &mut rng).unwrap(),
                "{impairment:?}"
            );
        }
        assert!(impair(&links, Endpoint::Database, Impairment::Flipped, &mut rng).is_err());
        let directory = tempfile::tempdir().unwrap();
        let history = Writer::open(&directory.path().join("history")).unwrap();
        for fault in [Fault::Network(Endpoint::Redis, Impairment::Cut), Fault::KillNode] {
            let error = inject_network(&[], fault, &mut rng, &history).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{fault}");
        }
    }
}
