//! What a [`Proxy`](super::Proxy) does to what passes through it.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

/// Whether bytes get through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They do.
    #[default]
    Passes,
    /// They stay under way, and arrive once it passes again: a short partition, in which TCP repeats itself until it is heard. As much as
    /// the proxy and both kernels can hold is taken from the sender, who then cannot write on.
    Waits,
    /// They are taken from the sender, and never arrive: a partition longer than TCP is patient. A connection that lost bytes is
    /// reset once it passes again.
    Vanishes,
}

/// One direction of all connections. Start from `default()`, which changes nothing, and change fields.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Wire {
    /// Whether bytes get through.
    pub flow: Flow,
    /// How long each byte is under way.
    pub latency: Duration,
    /// At most so much more, at random. Nothing overtakes anything.
    pub jitter: Duration,
    /// How much gets through.
    pub bytes_per_second: Option<NonZeroU32>,
    /// Share (0 to 1) of packets that are lost, each time they are sent. As TCP repeats them, what is seen is that everything behind them is
    /// late.
    pub loss: f64,
    /// Most bytes that arrive at once, a millisecond apart.
    pub slice: Option<NonZeroU32>,
    /// Ends each connection after so many more bytes: they arrive, then the end of the stream does, on both sides.
    pub cut_after: Option<u64>,
    /// Share (0 to 1) of packets that arrive with one bit wrong. For ways on which that is to be noticed.
    pub flips: f64,
}

impl Wire {
    /// Nothing special.
    #[must_use]
    pub fn clear() -> Self {
        Self::default()
    }

    /// Everything waits.
    #[must_use]
    pub fn waiting() -> Self {
        Self {
            flow: Flow::Waits,
            ..Self::default()
        }
    }

    /// Everything is lost.
    #[must_use]
    pub fn hole() -> Self {
        Self {
            flow: Flow::Vanishes,
            ..Self::default()
        }
    }

    /// Everything takes so long, and up to `jitter` more.
    #[must_use]
    pub fn slow(latency: Duration, jitter: Duration) -> Self {
        Self {
            latency,
            jitter,
            ..Self::default()
        }
    }

    /// No more than this gets through.
    #[must_use]
    pub fn narrow(bytes_per_second: NonZeroU32) -> Self {
        Self {
            bytes_per_second: Some(bytes_per_second),
            ..Self::default()
        }
    }

    /// This share of packets is lost.
    #[must_use]
    pub fn lossy(loss: f64) -> Self {
        Self {
            loss,
            ..Self::default()
        }
    }

    /// Each connection ends after so many more bytes.
    #[must_use]
    pub fn cut(after: u64) -> Self {
        Self {
            cut_after: Some(after),
            ..Self::default()
        }
    }
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From whoever connects.
    Up,
    /// To whoever connected.
    Down,
}

/// What holds at the moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Where new connections lead.
    pub(super) target: SocketAddr,
    pub(super) up: Wire,
    pub(super) down: Wire,
    /// Grows with each change of a wire.
    pub(super) version: u64,
    /// How often everything was reset.
    pub(super) resets: u64,
    /// How often everything was forgotten.
    pub(super) losses: u64,
}

impl Rules {
    pub(super) fn to(target: SocketAddr) -> Self {
        Self {
            target,
            up: Wire::clear(),
            down: Wire::clear(),
            version: 0,
            resets: 0,
            losses: 0,
        }
    }

    pub(super) const fn wire(&self, direction: Direction) -> &Wire {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    /// Whether somebody can be reached: a connection takes both ways.
    pub(super) fn is_open(&self) -> bool {
        self.up.flow == Flow::Passes && self.down.flow == Flow::Passes
    }
}
