//! Tracks the heartbeats of nodes on the bus, and derives the health of the bus from them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::NodeId;
use crate::store::Heartbeat;
use crate::sync::Mutex;

/// Number of own heartbeats that the bus has to return in a row before the node trusts a bus that
/// had failed.
const MIN_CONSECUTIVE_OWN: u32 = 3;
/// Maximum time for which a node stays listed after it has stopped: twice the time for which the
/// store lists it, because this node may get the shorter list late.
const MAX_LISTED_AFTER_STOP: Duration = Duration::from_secs(2 * Heartbeat::PEER_TIMEOUT.as_secs());
/// Maximum number of tracked peers. Clusters are smaller, so heartbeats of further peers are
/// forged.
const MAX_PEERS: usize = 4096;

/// Record of the heartbeats that this node receives: its own, which the bus returns, and those of
/// its peers.
#[derive(Debug)]
pub(crate) struct PeerMonitor {
    started: Instant,
    /// Time after which a heartbeat that has not arrived counts as missing.
    timeout: Duration,
    /// Minimum number of consecutive heartbeats of a peer that repeat an announcement.
    min_repeats: u64,
    table: Mutex<PeerTable>,
}

#[derive(Debug, Default)]
struct PeerTable {
    /// Number of the own heartbeat that returned last, and the time of its return.
    own: Option<(u64, Instant)>,
    /// Number of own heartbeats that have returned in a row, each within the timeout.
    consecutive_own: u32,
    peers: HashMap<NodeId, LastHeartbeat>,
    /// Nodes that the store or the cluster's discovery lists, each with the time at which it was
    /// first listed.
    listed_since: HashMap<NodeId, Instant>,
    /// Listed nodes of which a heartbeat has arrived, each with the time of the last one.
    heard: HashMap<NodeId, Instant>,
}

/// The last heartbeat that arrived from a peer.
#[derive(Debug)]
struct LastHeartbeat {
    /// Incarnation of the peer, which grows at each of its starts.
    incarnation: u64,
    /// Number of the heartbeat.
    number: u64,
    /// Time of arrival.
    at: Instant,
}

/// Health of the bus, derived from the heartbeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BusHealth {
    /// The node's own heartbeats do not return, or have only just started to return again.
    pub(crate) own_missing: bool,
    /// There is a listed node of which no heartbeat has arrived for more than half of the timeout:
    /// its latest announcements may be lost.
    pub(crate) peer_late: bool,
    /// A node has been listed for longer than the timeout, and no heartbeat of it has arrived on
    /// the bus within the timeout.
    pub(crate) peer_unseen: bool,
    /// A node for which `peer_unseen` holds is probably alive: no heartbeat of it has arrived since
    /// it was listed, or it is still listed so long after its last heartbeat that it cannot have
    /// stopped then. Otherwise these nodes have probably stopped.
    pub(crate) peer_isolated: bool,
    /// A peer's last heartbeat has become older than the timeout since the previous check.
    pub(crate) peer_lost: bool,
}

impl PeerMonitor {
    /// Creates a monitor that has received no heartbeat yet. A peer counts as lost after `timeout`
    /// without a heartbeat. At least `min_repeats` consecutive heartbeats of a peer repeat each of
    /// its announcements, so an announcement is lost only if all of them are lost.
    pub(crate) fn new(timeout: Duration, min_repeats: u64) -> Self {
        Self {
            started: Instant::now(),
            timeout,
            min_repeats,
            table: Mutex::default(),
        }
    }

    /// Records that the bus returned the node's own heartbeat `number`. A heartbeat of several
    /// envelopes counts once.
    pub(crate) fn record_own(&self, number: u64) {
        let mut table = self.table.lock();
        // A heartbeat that has returned before proves nothing about the bus: an attacker may have
        // kept it and sent it again.
        if table.own.is_none_or(|(last, _)| number > last) {
            table.consecutive_own = table.consecutive_own.saturating_add(1);
            table.own = Some((number, Instant::now()));
        }
    }

    /// Records a peer's heartbeat. Returns `false` if announcements may have been lost: the peer is
    /// new (or was lost) or was restarted, or too many of its heartbeats were lost. Peers beyond
    /// [`MAX_PEERS`] are ignored; for these, returns `true`.
    pub(crate) fn record_peer(&self, node: NodeId, incarnation: u64, number: u64) -> bool {
        let mut table = self.table.lock();
        if table.peers.len() >= MAX_PEERS && !table.peers.contains_key(&node) {
            return true;
        }
        let peer = LastHeartbeat {
            incarnation,
            number,
            at: Instant::now(),
        };
        table.peers.insert(node, peer).is_some_and(|last| {
            last.incarnation == incarnation && number.saturating_sub(last.number) <= self.min_repeats
        })
    }

    /// Derives the health of the bus from the received heartbeats. `listed` are the other nodes
    /// that the store or the cluster's discovery lists. Forgets lost peers, so that each loss is
    /// reported once.
    pub(crate) fn health(&self, listed: &HashSet<NodeId>) -> BusHealth {
        let now = Instant::now();
        let mut table = self.table.lock();
        let table = &mut *table;

        let last_own = table.own.map_or(self.started, |(_, at)| at);
        if last_own.elapsed() > self.timeout {
            table.consecutive_own = 0;
        }
        let own_missing = self.started.elapsed() > self.timeout && table.consecutive_own < MIN_CONSECUTIVE_OWN;

        let peers_before = table.peers.len();
        table.peers.retain(|_, peer| peer.at.elapsed() <= self.timeout);
        let peer_lost = table.peers.len() < peers_before;

        table.listed_since.retain(|node, _| listed.contains(node));
        table.heard.retain(|node, _| listed.contains(node));
        let mut health = BusHealth {
            own_missing,
            peer_lost,
            ..BusHealth::default()
        };
        for node in listed {
            let since = *table.listed_since.entry(*node).or_insert(now);
            let peer = table.peers.get(node);
            if let Some(peer) = peer {
                table.heard.insert(*node, peer.at);
            }
            health.peer_late |= peer.is_none_or(|peer| peer.at.elapsed() > self.timeout / 2);
            if peer.is_none() && since.elapsed() > self.timeout {
                health.peer_unseen = true;
                let heard = table.heard.get(node);
                health.peer_isolated |= heard.is_none_or(|at| at.elapsed() > MAX_LISTED_AFTER_STOP + self.timeout);
            }
        }
        health
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PEER: NodeId = NodeId([1; 16]);

    fn monitor() -> PeerMonitor {
        PeerMonitor::new(Duration::from_secs(3), 2)
    }

    #[tokio::test(start_paused = true)]
    async fn monitor_distrusts_the_bus_until_own_heartbeats_return_again() {
        let monitor = monitor();
        assert!(!monitor.health(&HashSet::new()).own_missing, "no heartbeat is due yet");
        advance(Duration::from_secs(4)).await;
        for number in 1..=2 {
            monitor.record_own(number);
            monitor.record_own(number);
            assert!(monitor.health(&HashSet::new()).own_missing);
        }
        monitor.record_own(3);
        assert!(!monitor.health(&HashSet::new()).own_missing);
        advance(Duration::from_secs(4)).await;
        assert!(monitor.health(&HashSet::new()).own_missing);
    }

    #[tokio::test(start_paused = true)]
    async fn monitor_reports_lost_heartbeats_and_restarts_of_peers() {
        let monitor = monitor();
        assert!(!monitor.record_peer(PEER, 1, 10), "the peer is new");
        assert!(monitor.record_peer(PEER, 1, 11));
        assert!(monitor.record_peer(PEER, 1, 13), "one lost heartbeat is tolerated");
        assert!(
            !monitor.record_peer(PEER, 1, 16),
            "two lost heartbeats in a row are too many"
        );
        assert!(!monitor.record_peer(PEER, 2, 17), "the peer was restarted");
    }

    #[tokio::test(start_paused = true)]
    async fn monitor_distinguishes_late_lost_and_unseen_peers() {
        let (monitor, listed) = (monitor(), HashSet::from([PEER]));
        monitor.record_peer(PEER, 1, 1);
        assert_eq!(monitor.health(&listed), BusHealth::default());
        advance(Duration::from_secs(2)).await;
        assert!(monitor.health(&listed).peer_late);
        advance(Duration::from_millis(1_001)).await;
        let health = monitor.health(&listed);
        assert!(health.peer_lost && health.peer_unseen);
        assert!(!health.peer_isolated, "the peer has probably stopped");
        let health = monitor.health(&HashSet::new());
        assert!(!health.peer_lost, "the loss was reported already");
        assert!(!health.peer_unseen, "the peer is no longer listed");
    }

    #[tokio::test(start_paused = true)]
    async fn monitor_distinguishes_stopped_and_isolated_peers() {
        let listed = HashSet::from([PEER]);
        let stopped = monitor();
        stopped.record_peer(PEER, 1, 1);
        stopped.health(&listed);
        advance(Duration::from_secs(10)).await;
        assert!(stopped.health(&listed).peer_unseen && !stopped.health(&listed).peer_isolated);
        advance(MAX_LISTED_AFTER_STOP).await;
        assert!(stopped.health(&listed).peer_isolated, "it is still listed");
        let never_heard = monitor();
        never_heard.health(&listed);
        advance(Duration::from_secs(4)).await;
        assert!(never_heard.health(&listed).peer_isolated);
    }

    #[tokio::test(start_paused = true)]
    async fn monitor_bounds_the_number_of_peers() {
        let monitor = monitor();
        for number in 0..10_000_u32 {
            let mut node = NodeId([0; 16]);
            node.0[..4].copy_from_slice(&number.to_be_bytes());
            monitor.record_peer(node, 1, 1);
        }
        assert_eq!(monitor.table.lock().peers.len(), MAX_PEERS);
    }
}
