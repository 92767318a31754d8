//! Members that send over the network.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chat_core::codec::{Answer, Incoming, RequestId, RequestKind};
use chat_core::model::{Command, ConversationId, ConversationRef, Outcome, Push};
use chat_core::testkit::Peer;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, sleep_until};

use crate::{Result, draft};

/// Result of a saturating load.
#[derive(Debug)]
pub(crate) struct Saturated {
    /// Acknowledgements per second.
    pub(crate) rate: f64,
    /// Deliveries per second, to all members together.
    pub(crate) deliveries: f64,
}

/// Lets all members send for a fixed time, each with `window` messages in flight.
pub(crate) async fn saturate(
    peers: Vec<Peer>,
    group: ConversationId,
    window: usize,
    time: Duration,
) -> Result<(Saturated, Vec<Peer>)> {
    let (seen, is_over) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for mut peer in peers {
        let (seen, is_over) = (Arc::clone(&seen), Arc::clone(&is_over));
        tasks.spawn(async move {
            let mut under_way = 0;
            loop {
                if under_way < window && !is_over.load(Ordering::Relaxed) {
                    // Sends as many messages as the last read has acknowledged, in one write.
                    let messages: Vec<RequestKind> =
                        (under_way..window).map(|_| message(group)).collect::<Result<_>>()?;
                    peer.send_all(messages).await?;
                    under_way = window;
                }
                if under_way == 0 {
                    return Result::Ok(peer);
                }
                let (mut delivered, mut acknowledged) = (0, 0);
                let mut next = Some(peer.next().await?);
                while let Some(incoming) = next {
                    if let Incoming::Push(Push::Event(_)) = incoming {
                        delivered += 1;
                    } else if let Some((_, is_acked)) = answer(incoming) {
                        // BUSY or TRY_AGAIN: the measurement saturates the servers on purpose.
                        under_way -= 1;
                        acknowledged += u64::from(is_acked);
                    }
                    next = peer.received()?;
                }
                seen.delivered.fetch_add(delivered, Ordering::Relaxed);
                seen.acknowledged.fetch_add(acknowledged, Ordering::Relaxed);
            }
        });
    }
    sleep(time).await;
    is_over.store(true, Ordering::Relaxed);
    let seconds = started.elapsed().as_secs_f64();
    let rate = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64 / seconds;
    let result = Saturated {
        rate: rate(&seen.acknowledged),
        deliveries: rate(&seen.delivered),
    };
    let mut peers = Vec::new();
    while let Some(task) = tasks.join_next().await {
        peers.push(task??);
    }
    Ok((result, peers))
}

#[derive(Debug, Default)]
struct Seen {
    acknowledged: AtomicU64,
    delivered: AtomicU64,
}

/// Result of a steady load.
#[derive(Debug)]
pub(crate) struct Paced {
    /// Acknowledgements per second.
    pub(crate) rate: f64,
    /// Time from message to acknowledgement, p50 and p99.
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Lets all members send for a fixed time, `rate` messages per second in total, whether or not they
/// are acknowledged.
pub(crate) async fn paced(peers: Vec<Peer>, group: ConversationId, rate: f64, time: Duration) -> Result<Paced> {
    let pause = Duration::from_secs_f64(peers.len() as f64 / rate);
    let (started, mut tasks) = (Instant::now(), JoinSet::new());
    for (number, mut peer) in peers.into_iter().enumerate() {
        let first = Duration::from_secs_f64(number as f64 / rate);
        tasks.spawn(async move {
            sleep_until(started + first).await;
            let (mut pace, mut sent, mut times) = (interval(pause), HashMap::<RequestId, Instant>::new(), Vec::new());
            loop {
                let is_over = started.elapsed() >= time;
                if is_over && sent.is_empty() {
                    return Result::Ok(times);
                }
                tokio::select! {
                    at = pace.tick(), if !is_over => {
                        sent.insert(peer.send(message(group)?).await?, at);
                    }
                    incoming = peer.next() => {
                        if let Some((id, is_acked)) = answer(incoming?)
                            && let Some(at) = sent.remove(&id)
                        {
                            times.extend(is_acked.then(|| at.elapsed()));
                        }
                    }
                }
            }
        });
    }
    let mut times = Vec::new();
    while let Some(task) = tasks.join_next().await {
        times.extend(task??);
    }
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied();
    Ok(Paced {
        rate: times.len() as f64 / time.as_secs_f64(),
        p50: at(0.5).ok_or("nothing was acknowledged")?,
        p99: at(0.99).ok_or("nothing was acknowledged")?,
    })
}

fn message(group: ConversationId) -> Result<RequestKind> {
    let conversation = ConversationRef::Id(group);
    let draft = draft()?;
    Ok(RequestKind::Command(Command::Send { conversation, draft }))
}

/// Returns the id of the request that a reply answers, and `true` if the reply is an
/// acknowledgement.
fn answer(incoming: Incoming) -> Option<(RequestId, bool)> {
    match incoming {
        Incoming::Reply { request_id, result } => {
            let is_acked = matches!(result, Ok(Answer::Outcome(Outcome::Appended(_))));
            Some((request_id, is_acked))
        }
        _ => None,
    }
}
