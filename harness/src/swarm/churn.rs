//! Churn: users who are removed from a group and join it again, while they send messages to it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chat_core::client::Client;
use chat_core::commands::Commands;
use chat_core::model::{Command, ConversationId, ConversationRef, Note, UserRef};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Minimum time between the starts of two changes of memberships, until `stop` is set; then between
/// two attempts of a user to join again.
const CHANGE_INTERVAL: Duration = Duration::from_millis(200);
/// Maximum time to wait for the answer to a change. After that time the next change is made; the
/// log shows whether the change without an answer happened.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for all users to join again at the end. After that, the first attempt that fails is an
/// error. It is this long because MariaDB, once its disk was full, checks for free space only every
/// minute.
const REJOIN_TIMEOUT: Duration = Duration::from_secs(100);

/// A user who is repeatedly removed from the group and joins it again.
#[derive(Debug)]
pub(super) struct ChurningUser {
    /// The user's client of the library.
    pub(super) library_client: Arc<Client>,
    pub(super) user: UserRef,
}

/// Removes all users one after the other, then lets them join again one after the other, and so on,
/// until `stop` is set. Then lets all users join. `users` must not be empty.
///
/// # Errors
/// A user cannot join again within [`REJOIN_TIMEOUT`].
pub(super) async fn run(
    owner: Arc<Client>,
    users: Vec<ChurningUser>,
    group_id: u64,
    stop: Arc<AtomicBool>,
) -> io::Result<()> {
    let group = ConversationRef::Id(ConversationId(group_id));
    let join = || Command::JoinGroup {
        group: group.clone(),
        note: Note::default(),
    };
    let mut ticks = interval(CHANGE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        // In even rounds all users are removed, in odd rounds they join again.
        let (round, number) = (turn / users.len(), turn % users.len());
        turn += 1;
        let churning = &users[number];
        // The outcome is ignored, because the log shows it.
        if round.is_multiple_of(2) {
            let kick = Command::KickMember {
                group: group.clone(),
                user: churning.user.clone(),
                ban: false,
            };
            let _ = timeout(ANSWER_TIMEOUT, owner.execute(kick)).await;
        } else {
            let _ = timeout(ANSWER_TIMEOUT, churning.library_client.execute(join())).await;
        }
    }
    let deadline = Instant::now() + REJOIN_TIMEOUT;
    for churning in &users {
        while !matches!(
            timeout(ANSWER_TIMEOUT, churning.library_client.execute(join())).await,
            Ok(Ok(_))
        ) {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!(
                    "a removed user could not join the group again within {} s",
                    REJOIN_TIMEOUT.as_secs()
                )));
            }
            ticks.tick().await;
        }
    }
    Ok(())
}
