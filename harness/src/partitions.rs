//! What can go wrong between a node and those it talks to.

use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::faults::{Dice, pause};
use crate::proxy::{Proxy, Wire};
use crate::{Far, Links};

/// Which way nothing gets through, as the node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// Neither.
    Both,
    /// It hears nothing.
    In,
    /// It is not heard.
    Out,
}

/// What a network does to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing gets through. Half of the times it arrives afterwards, half of the times it never does.
    Apart(Ways),
    /// Everything is late.
    Slow,
    /// One packet in twenty is lost.
    Lossy,
    /// Little gets through.
    Narrow,
    /// Everything comes in small pieces.
    Sliced,
    /// A bit is wrong now and then. For the way of clients only, whose channel notices it.
    Flipped,
    /// Connections end in the middle of what was said, again and again.
    Cut,
    /// A firewall forgets the connections there are, and tells nobody.
    Forgotten,
    /// Nobody is let in, and connections are reset.
    Refused,
}

impl Far {
    const fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Database => "MariaDB",
            Self::Both => "Redis and MariaDB",
            Self::Clients => "clients",
        }
    }

    /// Whether a node does not start without it.
    const fn is_needed_to_start(self) -> bool {
        matches!(self, Self::Database | Self::Both)
    }
}

/// A fault's name.
pub(crate) fn describe(f: &mut fmt::Formatter<'_>, far: Far, trouble: Trouble) -> fmt::Result {
    let far = far.name();
    match trouble {
        Trouble::Apart(Ways::Both) => write!(f, "node apart from {far}"),
        Trouble::Apart(Ways::In) => write!(f, "node deaf to {far}"),
        Trouble::Apart(Ways::Out) => write!(f, "node not heard by {far}"),
        Trouble::Slow => write!(f, "slow between node and {far}"),
        Trouble::Lossy => write!(f, "lossy between node and {far}"),
        Trouble::Narrow => write!(f, "narrow between node and {far}"),
        Trouble::Sliced => write!(f, "sliced between node and {far}"),
        Trouble::Flipped => write!(f, "bits flipped between node and {far}"),
        Trouble::Cut => write!(f, "cut between node and {far}"),
        Trouble::Forgotten => write!(f, "forgotten between node and {far}"),
        Trouble::Refused => write!(f, "node refused by {far}"),
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// Cuts in one [`Trouble::Cut`].
const CUTS: u32 = 8;

/// What gets through where it is narrow: less than a busy node has to say.
const NARROW: NonZeroU32 = NonZeroU32::new(16 * 1024).expect("it is above zero");
/// Bytes of a slice.
const SLICE: NonZeroU32 = NonZeroU32::new(16).expect("it is above zero");

/// Makes this trouble on the way to `far`, and mends it. Blocks. Returns whether anybody was there to notice it.
///
/// # Errors
/// The operating system's, or it cannot be made there.
pub(crate) fn trouble(links: &Links, far: Far, trouble: Trouble, dice: &mut Dice) -> io::Result<bool> {
    let _held = far.is_needed_to_start().then(|| links.hold());
    let proxies = links.to(far);
    apply(&proxies, far, trouble, dice)
}

/// The same with all nodes at once.
///
/// # Errors
/// As [`trouble`].
pub(crate) fn trouble_all(links: &[Links], far: Far, trouble: Trouble, dice: &mut Dice) -> io::Result<bool> {
    let needed = links.iter().filter(|_| far.is_needed_to_start());
    let _held: Vec<_> = needed.map(Links::hold).collect();
    let proxies: Vec<&Proxy> = links.iter().flat_map(|links| links.to(far)).collect();
    apply(&proxies, far, trouble, dice)
}

fn apply(proxies: &[&Proxy], far: Far, trouble: Trouble, dice: &mut Dice) -> io::Result<bool> {
    if matches!(
        (far, trouble),
        (Far::Redis | Far::Database | Far::Both, Trouble::Flipped)
    ) {
        let text = "bits are flipped only where a channel notices it: on the way of clients";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    // What was forgotten is not even noticed to be slow.
    if proxies.iter().all(|proxy| proxy.connections() <= proxy.forgotten()) {
        return Ok(false);
    }
    let mut happened = true;
    let each = |up, down| proxies.iter().for_each(|proxy| proxy.set(up, down));
    let lasts = |dice: &mut Dice, most: u32| pause(dice.between(SECOND, most * SECOND));
    match trouble {
        Trouble::Apart(ways) => {
            let shut = if dice.happens(0.5) {
                Wire::waiting()
            } else {
                Wire::hole()
            };
            let (up, down) = match (ways, far) {
                (Ways::Both, _) => (shut, shut),
                // Clients connect to it; to the others, it does.
                (Ways::In, Far::Clients) => (shut, Wire::clear()),
                (Ways::Out, Far::Clients) => (Wire::clear(), shut),
                (Ways::Out, _) => (shut, Wire::clear()),
                (Ways::In, _) => (Wire::clear(), shut),
            };
            each(up, down);
            lasts(dice, 8);
        }
        Trouble::Slow => {
            let slow = Wire::slow(Duration::from_millis(50), Duration::from_millis(100));
            each(slow, slow);
            lasts(dice, 6);
        }
        Trouble::Lossy => {
            let lossy = Wire::lossy(0.05);
            each(lossy, lossy);
            lasts(dice, 6);
        }
        Trouble::Narrow => {
            let narrow = Wire::narrow(NARROW);
            each(narrow, narrow);
            lasts(dice, 6);
        }
        Trouble::Sliced => {
            let slice = Some(SLICE);
            let sliced = Wire { slice, ..Wire::clear() };
            each(sliced, sliced);
            lasts(dice, 6);
        }
        Trouble::Flipped => {
            let flips = 0.02;
            let flipped = Wire { flips, ..Wire::clear() };
            each(flipped, flipped);
            lasts(dice, 6);
        }
        Trouble::Cut => {
            let before = ended(proxies);
            for _ in 0..CUTS {
                // Each way somewhere else, in this record or one of the next.
                let (up, down) = (Wire::cut(1 + dice.roll(700)), Wire::cut(1 + dice.roll(700)));
                each(up, down);
                pause(dice.between(SECOND / 10, SECOND / 2));
                each(Wire::clear(), Wire::clear());
                pause(dice.between(SECOND / 10, SECOND / 2));
            }
            // Where little is said, no connection may have come to the place where it was to be cut.
            happened = ended(proxies) > before;
        }
        Trouble::Forgotten => {
            proxies.iter().for_each(|proxy| proxy.forget());
            lasts(dice, 6);
        }
        Trouble::Refused => {
            for proxy in proxies {
                proxy.refuse()?;
                proxy.reset();
            }
            lasts(dice, 6);
            for proxy in proxies {
                proxy.accept()?;
            }
        }
    }
    proxies.iter().for_each(|proxy| proxy.clear());
    Ok(happened)
}

/// Connections that have ended.
fn ended(proxies: &[&Proxy]) -> u64 {
    let of = |proxy: &&Proxy| {
        // In this order: one that begins in between does not look like one that has ended.
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
    use crate::faults::{Fault, inject_network};
    use crate::history::Writer;

    #[test]
    fn what_nobody_notices_did_not_happen() {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let links = Links::start(nowhere, nowhere).unwrap();
        let mut dice = Dice::new(1);
        for what in [Trouble::Cut, Trouble::Lossy, Trouble::Narrow] {
            assert!(!trouble(&links, Far::Redis, what, &mut dice).unwrap(), "{what:?}");
        }
        assert!(trouble(&links, Far::Database, Trouble::Flipped, &mut dice).is_err());
        let directory = tempfile::tempdir().unwrap();
        let history = Writer::open(&directory.path().join("history")).unwrap();
        for fault in [Fault::Network(Far::Redis, Trouble::Cut), Fault::KillNode] {
            let error = inject_network(&[], fault, &mut dice, &history).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{fault}");
        }
    }
}
