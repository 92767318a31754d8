//! Devices whose sessions take over from each other, on one node after the other, while those taken over from talk on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::raw::{Account, Session, Site};

/// How long a session has the device for itself.
const REIGN: Duration = Duration::from_millis(500);
/// How long one that was taken over from is listened to, unless it ends before; longer than a node is frozen.
const LINGERING: Duration = Duration::from_secs(12);
/// Between messages.
const PAUSE: Duration = Duration::from_millis(50);
/// What is said at the moment of a takeover, by the one that was taken over from.
const LAST_WORDS: usize = 5;
/// After a server did not let it in.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Begins one session after the other until it is over.
pub(super) async fn take_over(
    site: Arc<Site>,
    account: Account,
    room: u64,
    is_over: Arc<AtomicBool>,
) -> io::Result<()> {
    let mut before: Option<Session> = None;
    let mut lingering = JoinSet::new();
    let mut server = 0;
    while !is_over.load(Ordering::Relaxed) {
        server = (server + 1) % site.servers.len();
        let Ok(mut session) = Session::begin(&site, site.servers[server], &account).await else {
            sleep(BACK_OFF).await;
            continue;
        };
        if let Some(mut before) = before.take() {
            // At once, as long as its node may not have heard of the other one. Whether it gets through does not matter.
            let _ = before.say(room, LAST_WORDS).await;
            lingering.spawn(linger(before));
        }
        while let Some(ended) = lingering.try_join_next() {
            ended.map_err(io::Error::other)??;
        }
        if reign(&mut session, room).await.is_ok() {
            before = Some(session);
        } else {
            session.end()?;
        }
    }
    before.map_or(Ok(()), Session::end)?;
    while let Some(ended) = lingering.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}

/// Hears what becomes of its last words, until its server closes it.
async fn linger(mut session: Session) -> io::Result<()> {
    let until = Instant::now() + LINGERING;
    while session.under_way() > 0 && matches!(timeout_at(until, session.take()).await, Ok(Ok(_))) {}
    session.end()
}

/// Talks for a while.
async fn reign(session: &mut Session, room: u64) -> io::Result<()> {
    let end = Instant::now() + REIGN;
    let mut next = Instant::now();
    while Instant::now() < end {
        session.say(room, 1).await?;
        session.catch_up().await?;
        next += PAUSE;
        listen(session, next).await?;
    }
    Ok(())
}

/// Takes what comes until then.
async fn listen(session: &mut Session, until: Instant) -> io::Result<()> {
    while let Ok(taken) = timeout_at(until, session.take()).await {
        taken?;
    }
    Ok(())
}
