//! Takeovers: a device logs in on one node after the other. Each new session replaces the previous
//! session, which sends a few more messages at that moment.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::wire_client::{Account, RunContext, Session};

/// Time after which a session is replaced by the next one.
const SESSION_TIME: Duration = Duration::from_millis(500);
/// Maximum time that a replaced session waits for outcomes. It is longer than
/// [`Fault::FreezeNode`](crate::Fault::FreezeNode) freezes a node.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(12);
/// Interval between messages of a session.
const SEND_INTERVAL: Duration = Duration::from_millis(50);
/// Number of messages that a session sends at the moment it is replaced.
const FINAL_MESSAGES: usize = 5;
/// Delay after a session could not be started.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Opens one session of `account` after the other, and sends messages in each, until `stop` is set.
pub(super) async fn run(
    context: Arc<RunContext>,
    account: Account,
    conversation: u64,
    stop: Arc<AtomicBool>,
) -> io::Result<()> {
    let mut previous: Option<Session> = None;
    let mut draining = JoinSet::new();
    let mut server = 0;
    while !stop.load(Ordering::Relaxed) {
        server = (server + 1) % context.servers.len();
        let Ok(mut session) = Session::start(&context, context.servers[server], &account).await else {
            sleep(RETRY_DELAY).await;
            continue;
        };
        if let Some(mut previous) = previous.take() {
            // Sent while the node of the previous session may not know of the new session yet. The
            // result is ignored, because that node may have closed the previous session.
            let _ = previous.send(conversation, FINAL_MESSAGES).await;
            draining.spawn(drain(previous));
        }
        while let Some(ended) = draining.try_join_next() {
            ended.map_err(io::Error::other)??;
        }
        if send_for_a_while(&mut session, conversation).await.is_ok() {
            previous = Some(session);
        } else {
            session.end()?;
        }
    }
    previous.map_or(Ok(()), Session::end)?;
    while let Some(ended) = draining.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}

/// Receives packets until every message of the session has its outcome, the connection ends, or
/// [`DRAIN_TIMEOUT`] is over. Then ends the session.
async fn drain(mut session: Session) -> io::Result<()> {
    let until = Instant::now() + DRAIN_TIMEOUT;
    while session.pending_count() > 0 && matches!(timeout_at(until, session.receive()).await, Ok(Ok(_))) {}
    session.end()
}

/// Sends messages, requests missing events and receives packets for [`SESSION_TIME`]. Fails if the
/// connection ends first.
async fn send_for_a_while(session: &mut Session, conversation: u64) -> io::Result<()> {
    let end = Instant::now() + SESSION_TIME;
    let mut next = Instant::now();
    while Instant::now() < end {
        session.send(conversation, 1).await?;
        session.request_missing().await?;
        next += SEND_INTERVAL;
        receive_until(session, next).await?;
    }
    Ok(())
}

/// Receives packets until the time `until`.
async fn receive_until(session: &mut Session, until: Instant) -> io::Result<()> {
    while let Ok(received) = timeout_at(until, session.receive()).await {
        received?;
    }
    Ok(())
}
