//! Dividing the shards of a feed fairly between the nodes that run it.

use std::collections::BTreeSet;

use crate::model::NodeId;
use crate::store::{FeedLease, FeedShard};

/// Leases that a node should claim or give up to hold its fair share of the shards.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Free shards to claim.
    pub(super) claim: Vec<FeedShard>,
    /// Number of shards that the node should give up, because it holds more than its share.
    pub(super) surplus: usize,
}

/// Returns the plan of `node`. `nodes` are the registered nodes of the feed; a node that is not
/// among them has a share of 0. `leases` are the unexpired leases of the feed; `held` are the
/// shards whose leases the node keeps. A shard that is not in `held` but leased to the node counts
/// as free: the node claimed it before it restarted or opened the feed again, got no answer to the
/// claim, or releases it now.
pub(super) fn plan(node: NodeId, nodes: &BTreeSet<NodeId>, leases: &[FeedLease], held: &BTreeSet<FeedShard>) -> Plan {
    let share = share(node, nodes);
    let taken: BTreeSet<_> = leases
        .iter()
        .filter(|lease| lease.node != node)
        .map(|lease| lease.shard)
        .collect();
    let free = FeedShard::all().filter(|shard| !taken.contains(shard) && !held.contains(shard));
    Plan {
        claim: free.take(share.saturating_sub(held.len())).collect(),
        surplus: held.len().saturating_sub(share),
    }
}

/// Returns the number of shards that a node is entitled to; 0 if it is not among `nodes`. The
/// shares of all nodes add up to all shards. Nodes after the sixteenth, in the order of their ids,
/// get none.
fn share(node: NodeId, nodes: &BTreeSet<NodeId>) -> usize {
    let Some(rank) = nodes.iter().position(|other| *other == node) else {
        return 0;
    };
    let shards = usize::from(FeedShard::COUNT);
    shards / nodes.len() + usize::from(rank < shards % nodes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn node(number: u8) -> NodeId {
        NodeId([number; 16])
    }

    fn lease(shard: FeedShard, holder: u8) -> FeedLease {
        FeedLease::new("feed".into(), shard, node(holder), 1, Timestamp(0))
    }

    #[test]
    fn shares_add_up_to_all_shards() {
        for count in 1..=20 {
            let nodes: BTreeSet<_> = (0..count).map(node).collect();
            let shares: Vec<_> = nodes.iter().map(|node| share(*node, &nodes)).collect();
            assert_eq!(shares.iter().sum::<usize>(), usize::from(FeedShard::COUNT));
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn node_claims_free_shards_up_to_its_share_and_gives_up_its_surplus() {
        let nodes = BTreeSet::from([node(1), node(2)]);
        let all: BTreeSet<_> = FeedShard::all().collect();
        let leases: Vec<_> = all.iter().map(|shard| lease(*shard, 1)).collect();
        let full = plan(node(1), &nodes, &leases, &all);
        assert_eq!((full.claim.len(), full.surplus), (0, 8));
        assert_eq!(plan(node(2), &nodes, &leases, &BTreeSet::new()).claim, []);
        let freed = plan(node(2), &nodes, &leases[..6], &BTreeSet::new());
        assert_eq!((freed.claim.len(), freed.surplus), (8, 0));
        assert!(freed.claim.iter().all(|shard| shard.number() >= 6));
    }

    #[test]
    fn restarted_node_claims_its_earlier_leases_again() {
        let nodes = BTreeSet::from([node(1)]);
        let leases: Vec<_> = FeedShard::all().map(|shard| lease(shard, 1)).collect();
        assert_eq!(plan(node(1), &nodes, &leases, &BTreeSet::new()).claim.len(), 16);
    }
}
