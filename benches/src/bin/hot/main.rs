//! Measures the throughput of one busy group on three nodes: `hot CHAT_SERVER [SENDERS]`, where
//! `CHAT_SERVER` is the path of the server binary. `SENDERS` members (default 64) send and receive.
//!
//! Prints the rate of one sender that waits for each acknowledgement, the rates of acknowledgements
//! and of deliveries while all senders have 32 messages in flight each, the latency of
//! acknowledgements while messages are sent at half that rate of acknowledgements, and the rate of
//! engines without connections of clients and without receivers, with one message in each
//! transaction and with batches.
//! Finally checks that the log of the group has no gap, and prints the number of its events.

mod commits;
mod load;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chat_core::commands::Commands;
use chat_core::model::{ConversationId, ConversationRef, Draft, GroupName, MessageText, NewGroup, Note, UserId};
use chat_core::secure::Fingerprint;
use chat_core::testkit::Peer;
use chat_harness::Cluster;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Number of messages that each sender has in flight while all of them send as much as they can.
const WINDOW: usize = 32;
/// Maximum number of messages in a batch (one transaction): the default of an engine.
const MAX_BATCH: usize = 128;
/// Duration of each measurement.
const TIME: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let server = PathBuf::from(arguments.first().ok_or("usage: hot CHAT_SERVER [SENDERS]")?);
    let senders: usize = match arguments.get(1) {
        Some(text) => text
            .parse::<usize>()
            .map_err(|_| format!("{text:?} is not a number of senders"))?,
        None => 64,
    };
    let cluster = tokio::task::spawn_blocking(move || Cluster::start(&server, 3)).await??;
    let nodes: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.address()).collect();
    let BenchGroup {
        group,
        members,
        mut peers,
    } = BenchGroup::create(&nodes, cluster.fingerprint(), senders).await?;

    let other_peers = peers.split_off(1);
    let (one_sender, mut peers) = load::saturate(peers, group, 1, TIME).await?;
    println!(
        "one sender, one message in flight:        {:>8.0} messages a second",
        one_sender.acknowledged_per_second
    );
    peers.extend(other_peers);

    let (all_senders, peers) = load::saturate(peers, group, WINDOW, TIME).await?;
    println!(
        "{senders} senders, {WINDOW} in flight each:          {:>8.0} messages a second, {:.0} times the rate of one sender",
        all_senders.acknowledged_per_second,
        all_senders.acknowledged_per_second / one_sender.acknowledged_per_second
    );
    println!(
        "delivered at the same time:               {:>8.0} a second, {:.1} % of all; clients would read the rest from the log",
        all_senders.delivered_per_second,
        100.0 * all_senders.delivered_per_second / all_senders.acknowledged_per_second / senders as f64
    );

    let paced = load::send_paced(peers, group, all_senders.acknowledged_per_second / 2.0, TIME).await?;
    println!(
        "acknowledged at {:.0} messages a second: p50 {:.0} ms, p99 {:.0} ms",
        paced.acknowledged_per_second,
        paced.p50.as_secs_f64() * 1e3,
        paced.p99.as_secs_f64() * 1e3
    );

    let url = format!("mysql://root@{}/chat", cluster.database.address());
    let single = commits::rate(&url, nodes.len(), &members, group, 1, TIME).await?;
    println!("without receivers, one per transaction:     {single:>6.0} messages a second");
    let batched = commits::rate(&url, nodes.len(), &members, group, MAX_BATCH, TIME).await?;
    println!(
        "without receivers, up to {MAX_BATCH} in one:       {batched:>6.0} messages a second, {:.0} times as many",
        batched / single
    );
    println!(
        "the log has {} events, numbered without gaps",
        count_events(&cluster, group)?
    );
    Ok(())
}

/// Returns a new draft with a text of 256 bytes.
fn draft() -> Result<Draft> {
    Ok(Draft::text(MessageText::new("x".repeat(256))?))
}

/// The measured group and its members.
struct BenchGroup {
    group: ConversationId,
    members: Vec<UserId>,
    /// A connected and logged-in peer for each member.
    peers: Vec<Peer>,
}

impl BenchGroup {
    /// Registers `count` members, distributed round-robin over the nodes, in one group.
    async fn create(nodes: &[SocketAddr], fingerprint: Fingerprint, count: usize) -> Result<Self> {
        let (mut peers, mut members, mut group) = (Vec::new(), Vec::new(), None);
        for number in 0..count {
            let mut peer = Peer::connect(nodes[number % nodes.len()], fingerprint).await?;
            let name = format!("sender-{number}");
            peer.register(&name).await?;
            members.push(peer.login(&name).await?.user.id);
            match group {
                None => group = Some(create_group(&mut peer).await?),
                Some(id) => {
                    let (group, note) = (ConversationRef::Id(id), Note::default());
                    peer.commands().join_group(group, note).await?;
                }
            }
            peers.push(peer);
        }
        Ok(Self {
            group: group.ok_or("SENDERS is 0; at least one sender is needed")?,
            members,
            peers,
        })
    }
}

async fn create_group(owner: &mut Peer) -> Result<ConversationId> {
    Ok(owner
        .commands()
        .create_group(NewGroup::new(GroupName::parse("hot")?))
        .await?
        .id)
}

/// Returns the number of events in the log of the group, or an error if the log has gaps or does
/// not begin with position 1.
fn count_events(cluster: &Cluster, group: ConversationId) -> Result<u64> {
    let sql = format!(
        "SELECT COUNT(*), MIN(seq), MAX(seq) FROM chat.event WHERE conversation_id = {}",
        group.0
    );
    let log = cluster.database.sql(&sql)?;
    let numbers = log.split_whitespace().map(str::parse);
    let numbers: Vec<u64> = numbers.collect::<std::result::Result<_, _>>()?;
    match numbers[..] {
        [count, 1, last] if count == last => Ok(count),
        _ => Err(format!(
            "the log has gaps or does not begin with position 1; its number of events, first position and last position are {log}"
        )
        .into()),
    }
}
