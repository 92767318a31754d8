//! One direction of one connection: bytes are queued when they are read, and written when they are
//! due.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::wire::{Direction, Flow, Rules, Wire};
use crate::SeededRng;

/// Maximum number of pieces in flight in one direction. The sender waits when it is reached.
const MAX_IN_FLIGHT: usize = 64;
/// Maximum size of a piece, in bytes.
const PIECE: usize = 16 * 1024;
/// Number of bytes of a stream in one packet.
const PACKET: usize = 1460;
/// Time after which TCP repeats an unacknowledged packet; it doubles with each repetition (RFC
/// 6298, with the minimum of Linux).
const REPEAT: Duration = Duration::from_millis(200);
/// Maximum time between repetitions. TCP itself goes up to two minutes, too long for a test.
const MAX_REPEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Time between slices.
const SLICE_PAUSE: Duration = Duration::from_millis(1);
/// Number of times a second that a wire with a bandwidth limit takes bytes.
const TURNS_PER_SECOND: u32 = 50;

/// Ways in which the proxy ends a connection.
#[derive(Debug)]
pub(super) enum End {
    /// A reset, on both sides.
    Reset,
    /// The end of both streams.
    Cut,
}

/// Piece in flight.
struct Sent {
    piece: Piece,
    due: Instant,
    /// Version of the rules that determined `due`.
    version: u64,
}

enum Piece {
    Bytes(Vec<u8>),
    /// End of the stream.
    Last,
    /// The sender has reset the connection.
    Broken,
}

/// Forwards bytes from one side to the other until it has forwarded the end of the stream.
pub(super) async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    direction: Direction,
    rules: watch::Receiver<Rules>,
    rng: SeededRng,
) -> Result<(), End> {
    let (queue, pieces) = mpsc::channel(MAX_IN_FLIGHT);
    let sender = Sender {
        direction,
        rules: rules.clone(),
        rng: rng.clone(),
        version: 0,
        free: Instant::now(),
    };
    let receiver = Receiver {
        direction,
        rules,
        rng,
        has_lost: false,
        counted: (0, 0),
    };
    tokio::try_join!(sender.run(from, queue), receiver.run(pieces, to)).map(drop)
}

/// Reads bytes and decides when they arrive.
struct Sender {
    direction: Direction,
    rules: watch::Receiver<Rules>,
    rng: SeededRng,
    /// Version of the rules for the last piece.
    version: u64,
    /// Time at which the wire is free for the next piece.
    free: Instant,
}

impl Sender {
    async fn run(mut self, mut from: ReadHalf<'_>, queue: mpsc::Sender<Sent>) -> Result<(), End> {
        let mut buffer = vec![0; PIECE];
        loop {
            let most_before = most(&self.wire().0);
            let read = from.read(&mut buffer[..most_before]).await;
            // Read again, because the rules may have changed while the read waited.
            let (wire, version) = self.wire();
            if self.version != version {
                // Bytes that were waiting for bandwidth follow the new rules.
                (self.version, self.free) = (version, Instant::now());
            }
            let (pieces, is_last): (Vec<Piece>, bool) = match read {
                Ok(0) => (vec![Piece::Last], true),
                Ok(length) => {
                    let pieces = buffer[..length].chunks(most(&wire));
                    (pieces.map(|bytes| Piece::Bytes(bytes.to_vec())).collect(), false)
                }
                Err(_) => (vec![Piece::Broken], true),
            };
            for piece in pieces {
                let length = if let Piece::Bytes(bytes) = &piece {
                    bytes.len()
                } else {
                    0
                };
                let due = self.due(&wire, length);
                if queue.send(Sent { piece, due, version }).await.is_err() {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    fn wire(&self) -> (Wire, u64) {
        let rules = self.rules.borrow();
        (*rules.wire(self.direction), rules.version)
    }

    /// Returns the time at which a piece that is sent now arrives, if no earlier piece arrives
    /// later.
    fn due(&mut self, wire: &Wire, length: usize) -> Instant {
        let starts = self.free.max(Instant::now());
        let takes = match wire.bytes_per_second {
            Some(rate) => Duration::from_secs_f64(length as f64 / f64::from(rate.get())),
            None if wire.slice.is_some() => SLICE_PAUSE,
            None => Duration::ZERO,
        };
        self.free = starts + takes;
        let jitter = self.rng.between(Duration::ZERO, wire.jitter);
        let mut due = self.free + wire.latency + jitter;
        let mut repeat = REPEAT;
        while self.rng.chance(wire.loss) {
            due += repeat;
            repeat = (repeat * 2).min(MAX_REPEAT_INTERVAL);
        }
        due
    }
}

/// Returns the maximum number of bytes to read at once.
fn most(wire: &Wire) -> usize {
    let mut most = PIECE;
    if let Some(slice) = wire.slice {
        most = most.min(slice.get() as usize);
    }
    if let Some(rate) = wire.bytes_per_second {
        most = most.min((rate.get() / TURNS_PER_SECOND).max(1) as usize);
    }
    if wire.loss > 0.0 || wire.flips > 0.0 {
        most = most.min(PACKET);
    }
    most
}

/// Writes the pieces that are due, unless the wire discards them.
struct Receiver {
    direction: Direction,
    rules: watch::Receiver<Rules>,
    rng: SeededRng,
    /// Bytes of this connection were discarded, so no later byte may arrive.
    has_lost: bool,
    /// The version of the rules, and bytes that were written under it.
    counted: (u64, u64),
}

impl Receiver {
    async fn run(mut self, mut pieces: mpsc::Receiver<Sent>, mut to: WriteHalf<'_>) -> Result<(), End> {
        // Set when the other side has closed. Its own end or reset arrives in the other direction.
        let mut is_gone = false;
        loop {
            let next = tokio::select! {
                // First, because a connection that has lost bytes must end before later bytes.
                biased;
                end = Self::reset_once_open(self.rules.clone(), self.direction), if self.has_lost => return end,
                next = pieces.recv() => next,
            };
            let Some(Sent { piece, due, version }) = next else {
                // The sender has ended, and its last bytes were discarded.
                return Self::reset_once_open(self.rules.clone(), self.direction).await;
            };
            self.arrives(due, version).await;
            if !self.gets_through().await {
                self.has_lost = true;
                continue;
            }
            if self.has_lost {
                return Err(End::Reset);
            }
            match piece {
                Piece::Bytes(bytes) if !is_gone => is_gone = self.write(&mut to, bytes).await?.is_err(),
                Piece::Bytes(_) => {}
                Piece::Last => {
                    // This fails if the other side has ended first.
                    let _ = to.shutdown().await;
                    return Ok(());
                }
                Piece::Broken => return Err(End::Reset),
            }
        }
    }

    /// Waits until a piece arrives. `due` is its time of arrival by the rules of this version.
    async fn arrives(&mut self, due: Instant, version: u64) {
        loop {
            let due = {
                let rules = self.rules.borrow_and_update();
                let wire = rules.wire(self.direction);
                if rules.version == version {
                    due
                } else {
                    due.min(rules.since + wire.latency + wire.jitter)
                }
            };
            tokio::select! {
                () = sleep_until(due) => return,
                changed = self.rules.changed() => if changed.is_err() {
                    // The proxy ends.
                    return;
                },
            }
        }
    }

    /// Waits while the flow waits. Returns `true` if bytes pass then.
    async fn gets_through(&mut self) -> bool {
        let direction = self.direction;
        let decided = self
            .rules
            .wait_for(|rules| rules.wire(direction).flow != Flow::Waits)
            .await;
        // An error means that the proxy ends: nothing more is written.
        decided.is_ok_and(|rules| rules.wire(direction).flow == Flow::Passes)
    }

    async fn reset_once_open(mut rules: watch::Receiver<Rules>, direction: Direction) -> Result<(), End> {
        let _ = rules.wait_for(|rules| rules.wire(direction).flow == Flow::Passes).await;
        Err(End::Reset)
    }

    async fn write(&mut self, to: &mut WriteHalf<'_>, mut bytes: Vec<u8>) -> Result<io::Result<()>, End> {
        let (wire, version) = {
            let rules = self.rules.borrow();
            (*rules.wire(self.direction), rules.version)
        };
        if self.counted.0 != version {
            self.counted = (version, 0);
        }
        let left = wire.cut_after.map(|most| most.saturating_sub(self.counted.1));
        let is_cut = left.is_some_and(|left| bytes.len() as u64 >= left);
        if let Some(left) = left {
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        self.counted.1 += bytes.len() as u64;
        if !bytes.is_empty() && self.rng.chance(wire.flips) {
            let at = self.rng.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << self.rng.below(8);
        }
        let written = to.write_all(&bytes).await;
        if is_cut { Err(End::Cut) } else { Ok(written) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    #[test]
    fn packets_arrive_at_every_permitted_loss() {
        let rules = Rules::to(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let (_rules_sender, rules) = watch::channel(rules);
        let mut sender = Sender {
            direction: Direction::Up,
            rules,
            rng: SeededRng::new(1),
            version: 0,
            free: Instant::now(),
        };
        let wire = Wire::lossy(crate::proxy::MAX_LOSS);
        for _ in 0..10_000 {
            let takes = sender.due(&wire, 1).duration_since(sender.free);
            assert!(takes < Duration::from_secs(200), "{takes:?}");
        }
    }
}
