//! What can go wrong between a node and those it talks to.

use std::fmt;
use std::io;
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
        Trouble::Cut => write!(f, "cut between node and {far}"),
        Trouble::Forgotten => write!(f, "forgotten between node and {far}"),
        Trouble::Refused => write!(f, "node refused by {far}"),
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// Cuts in one [`Trouble::Cut`].
const CUTS: u32 = 8;

/// Makes this trouble on the way to `far`, and mends it. Blocks.
///
/// # Errors
/// The operating system's.
pub(crate) fn trouble(links: &Links, far: Far, trouble: Trouble, dice: &mut Dice) -> io::Result<()> {
    let _held = far.is_needed_to_start().then(|| links.hold());
    let proxies = links.to(far);
    apply(&proxies, far, trouble, dice)
}

/// The same with all nodes at once.
///
/// # Errors
/// As [`trouble`].
pub(crate) fn trouble_all(links: &[Links], far: Far, trouble: Trouble, dice: &mut Dice) -> io::Result<()> {
    let needed = links.iter().filter(|_| far.is_needed_to_start());
    let _held: Vec<_> = needed.map(Links::hold).collect();
    let proxies: Vec<&Proxy> = links.iter().flat_map(|links| links.to(far)).collect();
    apply(&proxies, far, trouble, dice)
}

fn apply(proxies: &[&Proxy], far: Far, trouble: Trouble, dice: &mut Dice) -> io::Result<()> {
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
        Trouble::Cut => {
            for _ in 0..CUTS {
                // Each way somewhere else, in this record or one of the next.
                let (up, down) = (Wire::cut(1 + dice.roll(700)), Wire::cut(1 + dice.roll(700)));
                each(up, down);
                pause(dice.between(SECOND / 10, SECOND / 2));
                each(Wire::clear(), Wire::clear());
                pause(dice.between(SECOND / 10, SECOND / 2));
            }
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
    Ok(())
}
