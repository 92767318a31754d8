//! [`pump`]: forwards one direction of one connection. A [`Reader`] reads bytes and queues them
//! with the time at which they are due; a [`Writer`] writes or discards them at that time.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::wire::{Direction, Flow, Rules, Wire};
use crate::SeededRng;

/// Maximum number of pieces in the queue of one direction. The reader stops reading while it cannot
/// queue a piece.
const MAX_QUEUED_PIECES: usize = 64;
/// Maximum size of a piece, in bytes.
const MAX_PIECE_BYTES: usize = 16 * 1024;
/// Maximum number of bytes of a stream that count as one packet; as many as a TCP packet has on
/// Ethernet.
const PACKET_BYTES: usize = 1460;
/// Time after which TCP retransmits an unacknowledged packet for the first time. It doubles with
/// each retransmission (RFC 6298; this is the minimum of Linux).
const RETRANSMISSION_TIMEOUT: Duration = Duration::from_millis(200);
/// Maximum time between retransmissions. In Linux it is two minutes, too long for a test.
const MAX_RETRANSMISSION_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between pieces of a wire with [`slice`](Wire::slice) and without a bandwidth limit.
const SLICE_PAUSE: Duration = Duration::from_millis(1);
/// Divisor that limits the size of a read on a wire with a bandwidth limit: a read takes at most
/// the bytes of a second divided by this number, or one byte if that is less than one.
const READS_PER_SECOND: u32 = 50;

/// Way in which a connection ends other than by forwarding the ends of both streams.
#[derive(Debug)]
pub(super) enum End {
    /// Both sides receive a reset.
    Reset,
    /// Both sides receive the end of the stream.
    Cut,
}

/// Piece that was read and is not written yet.
struct PieceInFlight {
    piece: Piece,
    /// Time at which the piece arrives.
    due: Instant,
    /// [`Rules::version`] that determined `due`.
    version: u64,
}

/// Unit that the reader passes to the writer.
enum Piece {
    Bytes(Vec<u8>),
    /// End of the stream.
    Last,
    /// The peer that is read from has reset the connection.
    Broken,
}

/// Forwards bytes in `direction` until it has forwarded the end of the stream. Returns an [`End`]
/// if the connection must end before that.
pub(super) async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    direction: Direction,
    rules: watch::Receiver<Rules>,
    rng: SeededRng,
) -> Result<(), End> {
    let (queue, pieces) = mpsc::channel(MAX_QUEUED_PIECES);
    let reader = Reader {
        direction,
        rules: rules.clone(),
        rng: rng.clone(),
        version: 0,
        free_at: Instant::now(),
    };
    let writer = Writer {
        direction,
        rules,
        rng,
        has_lost: false,
        version: 0,
        written_bytes: 0,
    };
    tokio::try_join!(reader.run(from, queue), writer.run(pieces, to)).map(drop)
}

/// Reads bytes from one side and decides when they arrive at the other side.
struct Reader {
    direction: Direction,
    rules: watch::Receiver<Rules>,
    rng: SeededRng,
    /// [`Rules::version`] that applied to the last piece.
    version: u64,
    /// Time from which the next piece can be sent: then, the last piece has passed the bandwidth
    /// limit, or the pause between slices is over.
    free_at: Instant,
}

impl Reader {
    async fn run(mut self, mut from: ReadHalf<'_>, queue: mpsc::Sender<PieceInFlight>) -> Result<(), End> {
        let mut buffer = vec![0; MAX_PIECE_BYTES];
        loop {
            let max_read_before = max_read(&self.wire().0);
            let read = from.read(&mut buffer[..max_read_before]).await;
            // The wire is looked up again, because it may have changed while the read waited.
            let (wire, version) = self.wire();
            if self.version != version {
                // Bytes queued under the old rules do not occupy the bandwidth of the new ones.
                (self.version, self.free_at) = (version, Instant::now());
            }
            let (pieces, is_last): (Vec<Piece>, bool) = match read {
                Ok(0) => (vec![Piece::Last], true),
                Ok(length) => {
                    let pieces = buffer[..length].chunks(max_read(&wire));
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
                let due = self.schedule(&wire, length);
                if queue.send(PieceInFlight { piece, due, version }).await.is_err() {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Returns the current wire of this direction and the version of the rules.
    fn wire(&self) -> (Wire, u64) {
        let rules = self.rules.borrow();
        (*rules.wire(self.direction), rules.version)
    }

    /// Returns the time at which a piece of `length` bytes, sent now, arrives. It arrives later if
    /// an earlier piece does, because the order is kept. Updates `free_at`.
    fn schedule(&mut self, wire: &Wire, length: usize) -> Instant {
        let start = self.free_at.max(Instant::now());
        let duration = match wire.bytes_per_second {
            Some(rate) => Duration::from_secs_f64(length as f64 / f64::from(rate.get())),
            None if wire.slice.is_some() => SLICE_PAUSE,
            None => Duration::ZERO,
        };
        self.free_at = start + duration;
        let jitter = self.rng.between(Duration::ZERO, wire.jitter);
        let mut due = self.free_at + wire.latency + jitter;
        let mut timeout = RETRANSMISSION_TIMEOUT;
        while self.rng.chance(wire.loss) {
            due += timeout;
            timeout = (timeout * 2).min(MAX_RETRANSMISSION_TIMEOUT);
        }
        due
    }
}

/// Returns the maximum number of bytes to read at once, which is the maximum size of a piece.
fn max_read(wire: &Wire) -> usize {
    let mut max_read = MAX_PIECE_BYTES;
    if let Some(slice) = wire.slice {
        max_read = max_read.min(slice.get() as usize);
    }
    if let Some(rate) = wire.bytes_per_second {
        max_read = max_read.min((rate.get() / READS_PER_SECOND).max(1) as usize);
    }
    if wire.loss > 0.0 || wire.flips > 0.0 {
        max_read = max_read.min(PACKET_BYTES);
    }
    max_read
}

/// Writes each piece when it is due, or discards it if the wire does.
struct Writer {
    direction: Direction,
    rules: watch::Receiver<Rules>,
    rng: SeededRng,
    /// True after a piece was discarded: later bytes must not arrive then.
    has_lost: bool,
    /// [`Rules::version`] that applied to the last bytes written.
    version: u64,
    /// Number of bytes written under `version`, for [`Wire::cut_after`].
    written_bytes: u64,
}

impl Writer {
    async fn run(mut self, mut pieces: mpsc::Receiver<PieceInFlight>, mut to: WriteHalf<'_>) -> Result<(), End> {
        // True after a write has failed, because the peer that is written to has ended the
        // connection. The pump of the other direction forwards that end or reset.
        let mut is_gone = false;
        loop {
            let next = tokio::select! {
                // The reset comes first: a connection that has lost bytes must end before later
                // bytes arrive.
                biased;
                end = Self::reset_once_open(self.rules.clone(), self.direction), if self.has_lost => return end,
                next = pieces.recv() => next,
            };
            let Some(PieceInFlight { piece, due, version }) = next else {
                // The reader has ended, and its last piece, the end or the reset, was discarded.
                return Self::reset_once_open(self.rules.clone(), self.direction).await;
            };
            self.wait_for_arrival(due, version).await;
            if !self.wait_for_flow().await {
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
                    // This fails if the peer that is written to has closed the connection first.
                    let _ = to.shutdown().await;
                    return Ok(());
                }
                Piece::Broken => return Err(End::Reset),
            }
        }
    }

    /// Waits until a piece is due, or the proxy has ended. `due` was determined under the rules of
    /// `version`; newer rules can only make it earlier.
    async fn wait_for_arrival(&mut self, due: Instant, version: u64) {
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
                    // The proxy has ended.
                    return;
                },
            }
        }
    }

    /// Waits until the flow is not [`Flow::Frozen`]. Returns true if bytes pass then, and false if
    /// they are discarded or the proxy has ended.
    async fn wait_for_flow(&mut self) -> bool {
        let direction = self.direction;
        let decided = self
            .rules
            .wait_for(|rules| rules.wire(direction).flow != Flow::Frozen)
            .await;
        // An error means that the proxy has ended.
        decided.is_ok_and(|rules| rules.wire(direction).flow == Flow::Passes)
    }

    /// Waits until bytes pass in this direction or the proxy has ended, and then returns
    /// [`End::Reset`].
    async fn reset_once_open(mut rules: watch::Receiver<Rules>, direction: Direction) -> Result<(), End> {
        let _ = rules.wait_for(|rules| rules.wire(direction).flow == Flow::Passes).await;
        Err(End::Reset)
    }

    /// Writes a piece, with a bit flipped or its end cut off if the wire demands it. Returns
    /// [`End::Cut`] after the last byte before a cut; the inner error means that the peer that is
    /// written to has ended the connection.
    async fn write(&mut self, to: &mut WriteHalf<'_>, mut bytes: Vec<u8>) -> Result<io::Result<()>, End> {
        let (wire, version) = {
            let rules = self.rules.borrow();
            (*rules.wire(self.direction), rules.version)
        };
        if self.version != version {
            (self.version, self.written_bytes) = (version, 0);
        }
        let remaining = wire
            .cut_after
            .map(|max_bytes| max_bytes.saturating_sub(self.written_bytes));
        let is_cut = remaining.is_some_and(|remaining| bytes.len() as u64 >= remaining);
        if let Some(remaining) = remaining {
            bytes.truncate(usize::try_from(remaining).unwrap_or(usize::MAX));
        }
        self.written_bytes += bytes.len() as u64;
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
    fn maximum_loss_delays_a_packet_by_less_than_200_seconds() {
        let rules = Rules::to(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let (_rules_sender, rules) = watch::channel(rules);
        let mut reader = Reader {
            direction: Direction::Up,
            rules,
            rng: SeededRng::new(1),
            version: 0,
            free_at: Instant::now(),
        };
        let wire = Wire::lossy(crate::proxy::MAX_LOSS);
        for _ in 0..10_000 {
            let delay = reader.schedule(&wire, 1).duration_since(reader.free_at);
            assert!(delay < Duration::from_secs(200), "{delay:?}");
        }
    }
}
