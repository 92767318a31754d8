//! Load generators: members of a group send messages over the network.

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

/// Result of [`saturate`].
#[derive(Debug)]
pub(crate) struct Saturated {
    pub(crate) acknowledged_per_second: f64,
    /// Number of events that all measured peers together received per second.
    pub(crate) delivered_per_second: f64,
}

/// Lets all `peers` send for `time`, each with `window` messages in flight. Returns the rates in
/// that time and, once every message is answered, the peers, still connected.
pub(crate) async fn saturate(
    peers: Vec<Peer>,
    group: ConversationId,
    window: usize,
    time: Duration,
) -> Result<(Saturated, Vec<Peer>)> {
    let (counters, is_over) = (Arc::new(Counters::default()), Arc::new(AtomicBool::new(false)));
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for mut peer in peers {
        let (counters, is_over) = (Arc::clone(&counters), Arc::clone(&is_over));
        tasks.spawn(async move {
            let mut in_flight = 0;
            loop {
                if in_flight < window && !is_over.load(Ordering::Relaxed) {
                    // Sends as many messages as the window has room for, all in one write.
                    let messages: Vec<RequestKind> =
                        (in_flight..window).map(|_| message(group)).collect::<Result<_>>()?;
                    peer.send_all(messages).await?;
                    in_flight = window;
                }
                if in_flight == 0 {
                    return Result::Ok(peer);
                }
                let (mut delivered, mut acknowledged) = (0, 0);
                let mut next = Some(peer.next().await?);
                while let Some(incoming) = next {
                    if let Incoming::Push(Push::Event(_)) = incoming {
                        delivered += 1;
                    } else if let Some((_, is_acked)) = as_reply(incoming) {
                        // Refusals do not count. BUSY and TRY_AGAIN are expected, because the
                        // measurement saturates the servers on purpose.
                        in_flight -= 1;
                        acknowledged += u64::from(is_acked);
                    }
                    next = peer.next_buffered()?;
                }
                counters.delivered.fetch_add(delivered, Ordering::Relaxed);
                counters.acknowledged.fetch_add(acknowledged, Ordering::Relaxed);
            }
        });
    }
    sleep(time).await;
    is_over.store(true, Ordering::Relaxed);
    let seconds = started.elapsed().as_secs_f64();
    let rate = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64 / seconds;
    let result = Saturated {
        acknowledged_per_second: rate(&counters.acknowledged),
        delivered_per_second: rate(&counters.delivered),
    };
    let mut peers = Vec::new();
    while let Some(task) = tasks.join_next().await {
        peers.push(task??);
    }
    Ok((result, peers))
}

#[derive(Debug, Default)]
struct Counters {
    acknowledged: AtomicU64,
    delivered: AtomicU64,
}

/// Result of [`send_paced`].
#[derive(Debug)]
pub(crate) struct Paced {
    pub(crate) acknowledged_per_second: f64,
    /// Median time from the moment a message is due to its acknowledgement.
    pub(crate) p50: Duration,
    /// 99th percentile of that time.
    pub(crate) p99: Duration,
}

/// Lets all `peers` send for `time`, at a constant rate of `rate` messages per second in total, and
/// waits until every message is answered. Peers do not wait for acknowledgements before they send
/// the next message.
pub(crate) async fn send_paced(peers: Vec<Peer>, group: ConversationId, rate: f64, time: Duration) -> Result<Paced> {
    let send_interval = Duration::from_secs_f64(peers.len() as f64 / rate);
    let (started, mut tasks) = (Instant::now(), JoinSet::new());
    for (number, mut peer) in peers.into_iter().enumerate() {
        let first_delay = Duration::from_secs_f64(number as f64 / rate);
        tasks.spawn(async move {
            sleep_until(started + first_delay).await;
            // `due_times` has the messages without an answer, with the time at which each was due.
            let (mut ticks, mut due_times, mut latencies) = (
                interval(send_interval),
                HashMap::<RequestId, Instant>::new(),
                Vec::new(),
            );
            loop {
                let is_over = started.elapsed() >= time;
                if is_over && due_times.is_empty() {
                    return Result::Ok(latencies);
                }
                tokio::select! {
                    due = ticks.tick(), if !is_over => {
                        due_times.insert(peer.send(message(group)?).await?, due);
                    }
                    incoming = peer.next() => {
                        if let Some((id, is_acked)) = as_reply(incoming?)
                            && let Some(due) = due_times.remove(&id)
                        {
                            latencies.extend(is_acked.then(|| due.elapsed()));
                        }
                    }
                }
            }
        });
    }
    let mut latencies = Vec::new();
    while let Some(task) = tasks.join_next().await {
        latencies.extend(task??);
    }
    latencies.sort_unstable();
    let percentile = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied();
    Ok(Paced {
        acknowledged_per_second: latencies.len() as f64 / time.as_secs_f64(),
        p50: percentile(0.5).ok_or("nothing was acknowledged")?,
        p99: percentile(0.99).ok_or("nothing was acknowledged")?,
    })
}

fn message(group: ConversationId) -> Result<RequestKind> {
    let conversation = ConversationRef::Id(group);
    let draft = draft()?;
    Ok(RequestKind::Command(Command::Send { conversation, draft }))
}

/// Returns the id of the request that a reply answers, and whether the reply is an acknowledgement.
/// Returns `None` for a packet that is no reply.
fn as_reply(incoming: Incoming) -> Option<(RequestId, bool)> {
    match incoming {
        Incoming::Reply { request_id, result } => {
            let is_acked = matches!(result, Ok(Answer::Outcome(Outcome::Appended(_))));
            Some((request_id, is_acked))
        }
        _ => None,
    }
}
