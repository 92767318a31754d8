//! [`Wire`]: the impairments that a [`Proxy`](super::Proxy) applies to one direction.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// Maximum [`loss`](Wire::loss). With a higher one, hardly any data arrives within the time of a
/// test.
pub const MAX_LOSS: f64 = 0.9;
/// Maximum [`latency`](Wire::latency), and maximum [`jitter`](Wire::jitter).
pub(super) const MAX_DELAY: Duration = Duration::from_secs(3600);

/// Decides whether the bytes of one direction arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// Bytes arrive, subject to the other impairments of the wire.
    #[default]
    Passes,
    /// Bytes are held back and arrive once the flow passes again, as in a network partition shorter
    /// than the timeout of TCP. When the buffers of the proxy and of the kernel are full, the
    /// sender cannot write.
    Frozen,
    /// Bytes are read from the sender and discarded, as in a network partition longer than the
    /// timeout of TCP. A connection that lost bytes or the end of a stream is reset once the flow
    /// passes again.
    Dropped,
}

/// Impairments of one direction of all connections of a proxy. The default has none. A *packet* is
/// a piece of at most 1460 bytes of a stream, because the proxy does not see the packets of TCP.
///
/// When a proxy's wires are set, bytes in flight in both directions are treated as if they had been
/// sent at that moment, without loss or bandwidth limit and with the maximum jitter, if they arrive
/// earlier that way. So an impairment that has ended delays no bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Wire {
    /// Decides whether bytes arrive, are held back, or are discarded.
    pub flow: Flow,
    /// Time that each byte is in flight, at most an hour.
    pub latency: Duration,
    /// Maximum random time added to `latency`, at most an hour. The order of bytes is kept.
    pub jitter: Duration,
    /// Maximum bandwidth, in bytes per second.
    pub bytes_per_second: Option<NonZeroU32>,
    /// Share (0 to [`MAX_LOSS`]) of packets that are lost in each transmission. They arrive late,
    /// as if TCP had retransmitted them, and so do all later bytes: by 0.2 s, 0.4 s and so on, at
    /// most a second per retransmission. (Linux waits up to two minutes, too long for a test.)
    pub loss: f64,
    /// Maximum number of bytes that arrive at once. Slices are a millisecond apart, unless
    /// `bytes_per_second` determines their times.
    pub slice: Option<NonZeroU32>,
    /// Number of bytes after which each connection ends, counted from the time at which the wires
    /// of the proxy were last set. These bytes arrive; then both sides receive the end of the
    /// stream.
    pub cut_after: Option<u64>,
    /// Share (0 to 1) of packets that arrive with one flipped bit. Meant for protocols that detect
    /// flipped bits.
    pub flips: f64,
}

impl Wire {
    /// Returns a wire without impairments.
    #[must_use]
    pub fn clear() -> Self {
        Self::default()
    }

    /// Returns a wire that holds all bytes back.
    #[must_use]
    pub fn frozen() -> Self {
        Self {
            flow: Flow::Frozen,
            ..Self::default()
        }
    }

    /// Returns a wire that discards all bytes.
    #[must_use]
    pub fn dropping() -> Self {
        Self {
            flow: Flow::Dropped,
            ..Self::default()
        }
    }

    /// Returns a wire that delays all bytes by `latency` and a random time up to `jitter`.
    #[must_use]
    pub fn slow(latency: Duration, jitter: Duration) -> Self {
        Self {
            latency,
            jitter,
            ..Self::default()
        }
    }

    /// Returns a wire with limited bandwidth.
    #[must_use]
    pub fn narrow(bytes_per_second: NonZeroU32) -> Self {
        Self {
            bytes_per_second: Some(bytes_per_second),
            ..Self::default()
        }
    }

    /// Returns a wire that loses the share `loss` of packets.
    #[must_use]
    pub fn lossy(loss: f64) -> Self {
        Self {
            loss,
            ..Self::default()
        }
    }

    /// Returns a wire on which each connection ends after `after` further bytes.
    #[must_use]
    pub fn cut(after: u64) -> Self {
        Self {
            cut_after: Some(after),
            ..Self::default()
        }
    }

    /// Returns whether all shares and times are within the ranges of their fields.
    pub(super) fn is_valid(&self) -> bool {
        (0.0..=MAX_LOSS).contains(&self.loss)
            && (0.0..=1.0).contains(&self.flips)
            && self.latency.max(self.jitter) <= MAX_DELAY
    }
}

/// Direction of bytes through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the connecting side to the target.
    Up,
    /// From the target to the connecting side.
    Down,
}

/// State of a proxy that its commands set and all of its connections follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Address that new connections are forwarded to.
    pub(super) target: SocketAddr,
    pub(super) up: Wire,
    pub(super) down: Wire,
    /// Number of changes of `up` and `down` so far.
    pub(super) version: u64,
    /// Time of the last change of `up` and `down`; initially the start of the proxy.
    pub(super) since: Instant,
    /// See [`Proxy::refuses`](super::Proxy::refuses).
    pub(super) refuses: bool,
    /// Number of times that all connections were reset.
    pub(super) resets: u64,
    /// Number of times that all connections were forgotten.
    pub(super) forgets: u64,
}

impl Rules {
    /// Returns the rules of a proxy without impairments that forwards to `target`.
    pub(super) fn to(target: SocketAddr) -> Self {
        Self {
            target,
            up: Wire::clear(),
            down: Wire::clear(),
            version: 0,
            since: Instant::now(),
            refuses: false,
            resets: 0,
            forgets: 0,
        }
    }

    pub(super) const fn wire(&self, direction: Direction) -> &Wire {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    /// Returns whether a connection can be established: bytes must pass in both directions.
    pub(super) fn is_open(&self) -> bool {
        self.up.flow == Flow::Passes && self.down.flow == Flow::Passes
    }
}
