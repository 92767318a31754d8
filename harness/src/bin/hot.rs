//! How fast one group can be: `hot CHAT_SERVER [SENDERS]`. Three nodes, one group; first one sender who waits for each acknowledgement,
//! then 64 (or so many) on all nodes with 32 messages under way each. Prints both rates, and checks that the log has no hole.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chat_core::codec::{Answer, Incoming, RequestKind};
use chat_core::model::{
    ClientMessageId, Command, ConversationId, ConversationRef, Description, Draft, GroupName, JoinPolicy, MessageText,
    Note, Outcome,
};
use chat_core::testkit::Peer;
use chat_harness::Cluster;
use tokio::task::JoinSet;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Messages of one sender under way.
const WINDOW: usize = 32;
/// How long each rate is measured.
const TIME: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let server = PathBuf::from(arguments.first().ok_or("usage: hot CHAT_SERVER [SENDERS]")?);
    let senders: usize = arguments.get(1).map_or(Ok(64), |text| text.parse())?;
    let cluster = tokio::task::spawn_blocking(move || Cluster::start(&server, 3)).await??;
    let mut peers = Vec::new();
    let mut group = None;
    for number in 0..senders {
        let node = cluster.nodes[number % cluster.nodes.len()].address();
        let mut peer = Peer::connect(node, cluster.fingerprint()).await?;
        let name = format!("sender-{number}");
        peer.register(&name).await?;
        peer.login(&name).await?;
        match group {
            None => {
                let create = Command::CreateGroup {
                    client_message_id: ClientMessageId::random(),
                    name: GroupName::parse("hot")?,
                    description: Description::default(),
                    join_policy: JoinPolicy::Open,
                    history_visible: false,
                    unlisted: false,
                };
                let Outcome::Conversation(made) = peer.run(create).await? else {
                    return Err("no group was made".into());
                };
                group = Some(made.id);
            }
            Some(id) => {
                let group = ConversationRef::Id(id);
                drop(
                    peer.run(Command::JoinGroup {
                        group,
                        note: Note::default(),
                    })
                    .await?,
                );
            }
        }
        peers.push(peer);
    }
    let group = group.ok_or("there is no sender")?;

    let alone = vec![peers.remove(0)];
    let (slow, mut alone) = measure(alone, group, 1).await?;
    println!("one sender, one message under way:  {slow:>8.0} messages a second");
    peers.append(&mut alone);
    let (fast, peers) = measure(peers, group, WINDOW).await?;
    println!(
        "{senders} senders, {WINDOW} under way each:    {fast:>8.0} messages a second, {:.0} times as many",
        fast / slow
    );
    drop(peers);
    let sql = format!(
        "SELECT COUNT(*), MIN(seq), MAX(seq) FROM chat.event WHERE conversation_id = {}",
        group.0
    );
    let log = cluster.database.sql(&sql)?;
    let numbers: Vec<u64> = log
        .split_whitespace()
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?;
    if numbers[1] != 1 || numbers[0] != numbers[2] {
        return Err(format!("the log has holes: {log}").into());
    }
    println!("the log has {} events, numbered without holes", numbers[0]);
    Ok(())
}

/// Lets everybody send for a while; the rate of acknowledgements.
async fn measure(peers: Vec<Peer>, group: ConversationId, window: usize) -> Result<(f64, Vec<Peer>)> {
    let (acked, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for mut peer in peers {
        let (acked, is_over) = (Arc::clone(&acked), Arc::clone(&is_over));
        tasks.spawn(async move {
            let text = MessageText::new("x".repeat(256))?;
            let mut under_way = 0;
            loop {
                while under_way < window && !is_over.load(Ordering::Relaxed) {
                    let conversation = ConversationRef::Id(group);
                    let draft = Draft::text(text.clone());
                    peer.send(RequestKind::Command(Command::Send { conversation, draft }))
                        .await?;
                    under_way += 1;
                }
                if under_way == 0 {
                    return Result::Ok(peer);
                }
                match peer.next().await? {
                    Incoming::Reply {
                        result: Ok(Answer::Outcome(Outcome::Appended(_))),
                        ..
                    } => {
                        under_way -= 1;
                        acked.fetch_add(1, Ordering::Relaxed);
                    }
                    // Busy, or try again: the measurement asks for as much as there is.
                    Incoming::Reply { result: Err(_), .. } => under_way -= 1,
                    _ => {}
                }
            }
        });
    }
    tokio::time::sleep(TIME).await;
    is_over.store(true, Ordering::Relaxed);
    let rate = acked.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    let mut back = Vec::new();
    while let Some(task) = tasks.join_next().await {
        back.push(task??);
    }
    Ok((rate, back))
}
