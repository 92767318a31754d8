//! Tests of marks that find no room in the queue.

use std::time::Duration;

use super::support::*;
use crate::commands::Commands;
use crate::model::*;

#[tokio::test]
async fn mark_that_finds_no_room_is_answered_with_busy() {
    let mut config = config();
    config.max_queued_marks_per_user = 1;
    config.mark_flush_interval = Duration::from_secs(3600);
    let engine = builder().config(config).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    let (one, other) = (create_group(&alice, "one").await, create_group(&alice, "other").await);
    let read = |conversation, seq| Command::MarkRead { conversation, seq };
    alice.execute(read(one, Seq(1))).await.unwrap();
    assert_eq!(error_code(alice.execute(read(other, Seq(1))).await), ReplyCode::Busy);
    let acknowledge = Command::Acknowledge {
        conversation: one,
        seq: Seq(1),
    };
    assert_eq!(error_code(alice.execute(acknowledge).await), ReplyCode::Busy);
    alice
        .execute(read(one, Seq(2)))
        .await
        .expect("a further read mark of the conversation needs no more room");
    // The list of conversations waits until the queued marks are written.
    alice.conversations().await.unwrap();
    alice
        .execute(read(other, Seq(1)))
        .await
        .expect("the earlier mark is written");
}
