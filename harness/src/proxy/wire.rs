//! What a [`Proxy`](super::Proxy) does to what passes through it.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// The largest share of packets that can be lost: of what loses more, next to nothing arrives in a
/// test's time.
pub const MOST_LOST: f64 = 0.9;
/// The longest that anything can be made to take.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);

/// Whether bytes get through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They do.
    #[default]
    Passes,
    /// They stay under way, and arrive once it passes again: a short partition, in which TCP
    /// repeats itself until it is heard. As much as the proxy and both kernels can hold is taken
    /// from the sender, who then cannot write on.
    Waits,
    /// They are taken from the sender, and never arrive: a partition longer than TCP is patient. A
    /// connection that lost bytes is reset once it passes again.
    Vanishes,
}

/// One direction of all connections. Start from `default()`, which changes nothing, and change
/// fields.
///
/// What is under way when the wire changes is treated as if it had been sent at that moment, if
/// that makes it arrive earlier: what is late, narrow or repeated no more is so for nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Wire {
    /// Whether bytes get through.
    pub flow: Flow,
    /// How long each byte is under way; an hour at most.
    pub latency: Duration,
    /// At most so much more, at random; an hour at most. Nothing overtakes anything.
    pub jitter: Duration,
    /// How much gets through.
    pub bytes_per_second: Option<NonZeroU32>,
    /// Share (0 to [`MOST_LOST`]) of packets that are lost, each time they are sent. As TCP repeats
    /// them, what is seen is that everything behind them is late: by 0.2 s, 0.4 s and so on, a
    /// second at most for each time. (TCP itself goes on to two minutes, which no test has.)
    pub loss: f64,
    /// Most bytes that arrive at once, a millisecond apart.
    pub slice: Option<NonZeroU32>,
    /// Ends each connection after so many more bytes: they arrive, then the end of the stream does,
    /// on both sides.
    pub cut_after: Option<u64>,
    /// Share (0 to 1) of packets that arrive with one bit wrong. For ways on which that is to be
    /// noticed.
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

    pub(super) fn is_possible(&self) -> bool {
        (0.0..=MOST_LOST).contains(&self.loss)
            && (0.0..=1.0).contains(&self.flips)
            && self.latency.max(self.jitter) <= LONGEST
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
    /// When that was the last time.
    pub(super) since: Instant,
    /// Whether new connections are refused.
    pub(super) refuses: bool,
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
            since: Instant::now(),
            refuses: false,
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
