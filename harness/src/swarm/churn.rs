//! Users who are removed from a group and join it again, while they send to it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chat_core::client::Client;
use chat_core::model::{Command, ConversationId, ConversationRef, Note, UserRef};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Interval between two changes of the membership.
const CHANGE_INTERVAL: Duration = Duration::from_millis(200);
/// Longest wait for the answer to a change. After it the next change is made: the log tells whether
/// this one happened.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time until all users have joined again in the end. MariaDB looks for space once a minute
/// after its disk was full.
const REJOIN_TIMEOUT: Duration = Duration::from_secs(100);

/// A user who is removed and joins again.
#[derive(Debug)]
pub(super) struct ChurningUser {
    pub(super) library: Arc<Client>,
    pub(super) user: UserRef,
}

/// Removes users and lets them join again, one after the other, until `stop` is set; then lets all
/// of them join.
pub(super) async fn run(
    host: Arc<Client>,
    users: Vec<ChurningUser>,
    group_id: u64,
    stop: Arc<AtomicBool>,
) -> io::Result<()> {
    let group = ConversationRef::Id(ConversationId(group_id));
    let join = || Command::JoinGroup {
        group: group.clone(),
        note: Note::default(),
    };
    let mut pace = interval(CHANGE_INTERVAL);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        // Each user stays outside while the others are removed.
        let (round, number) = (turn / users.len(), turn % users.len());
        turn += 1;
        let churning = &users[number];
        // The log shows the outcome.
        if round.is_multiple_of(2) {
            let kick = Command::KickMember {
                group: group.clone(),
                user: churning.user.clone(),
                ban: false,
            };
            let _ = timeout(ANSWER_TIMEOUT, host.execute(kick)).await;
        } else {
            let _ = timeout(ANSWER_TIMEOUT, churning.library.execute(join())).await;
        }
    }
    let deadline = Instant::now() + REJOIN_TIMEOUT;
    for churning in &users {
        while !matches!(
            timeout(ANSWER_TIMEOUT, churning.library.execute(join())).await,
            Ok(Ok(_))
        ) {
            if Instant::now() > deadline {
                return Err(io::Error::other("a removed user cannot join again"));
            }
            pace.tick().await;
        }
    }
    Ok(())
}
