//! People who come to a group and are put out of it, again and again, and talk all the while.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chat_core::client::Client;
use chat_core::model::{Command, ConversationId, ConversationRef, Note, UserRef};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Between two changes of the group.
const PAUSE: Duration = Duration::from_millis(200);
/// Whoever does not hear of a change for so long goes on: the log tells what became of it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Everybody is back in within this time, or the cluster does not work. A database whose disk was full looks for space once a minute.
const RETURN: Duration = Duration::from_secs(100);

/// Somebody who comes and goes.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) client: Arc<Client>,
    pub(super) user: UserRef,
}

/// Puts guests out and lets them come back, one after the other, until it is over. In the end all are in.
pub(super) async fn come_and_go(
    host: Arc<Client>,
    guests: Vec<Guest>,
    club: u64,
    is_over: Arc<AtomicBool>,
) -> io::Result<()> {
    let group = ConversationRef::Id(ConversationId(club));
    let join = || Command::JoinGroup {
        group: group.clone(),
        note: Note::default(),
    };
    let mut pace = interval(PAUSE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = 0;
    while !is_over.load(Ordering::Relaxed) {
        pace.tick().await;
        // Each is out for as many turns as there are others.
        let (round, number) = (turn / guests.len(), turn % guests.len());
        turn += 1;
        let guest = &guests[number];
        // Whatever comes of it is in the log.
        if round.is_multiple_of(2) {
            let kick = Command::KickMember {
                group: group.clone(),
                user: guest.user.clone(),
                ban: false,
            };
            let _ = timeout(PATIENCE, host.execute(kick)).await;
        } else {
            let _ = timeout(PATIENCE, guest.client.execute(join())).await;
        }
    }
    let deadline = Instant::now() + RETURN;
    for guest in &guests {
        while !matches!(timeout(PATIENCE, guest.client.execute(join())).await, Ok(Ok(_))) {
            if Instant::now() > deadline {
                return Err(io::Error::other("a guest cannot come back"));
            }
            pace.tick().await;
        }
    }
    Ok(())
}
