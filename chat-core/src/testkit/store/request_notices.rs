//! Cases about notices of requests.

use std::sync::Arc;

use super::fixture::{create, create_account, transact, without_group};
use crate::model::{ConversationId, ConversationKind, EventKind, Timestamp, UserId};
use crate::store::{RequestNotice, Store, StoreError, TxError};

const ANNA: UserId = UserId(71);
const GROUP: Option<ConversationId> = Some(ConversationId(9));

/// Creates an account with an inbox, and returns the inbox.
async fn inbox(store: &dyn Store, name: &str) -> ConversationId {
    let owner = create_account(store, name).await;
    create(store, without_group(ConversationKind::Inbox { owner }))
        .await
        .unwrap()
}

fn notice(inbox: ConversationId) -> RequestNotice {
    RequestNotice {
        inbox,
        kind: EventKind::GroupInvited,
        sender: ANNA,
        group: GROUP,
    }
}

/// Records a notice under the lock of its inbox. Returns whether it was recorded.
async fn record(store: &dyn Store, notice: RequestNotice, now: i64, since: i64) -> bool {
    let work = transact(store, move |tx| {
        Box::pin(async move {
            tx.lock_conversation(notice.inbox).await?;
            Ok(tx
                .record_request_notice(notice, Timestamp(now), Timestamp(since))
                .await?)
        })
    });
    work.await.unwrap()
}

pub async fn repeated_notice_is_recorded_once_in_an_interval(store: Arc<dyn Store>) {
    let notice = notice(inbox(&*store, "bob").await);
    assert!(record(&*store, notice, 1000, 0).await);
    assert!(!record(&*store, notice, 1500, 500).await);
    assert!(
        !record(&*store, notice, 1999, 999).await,
        "the first notice still counts"
    );
    assert!(record(&*store, notice, 2000, 1000).await, "the interval is over");
    assert!(!record(&*store, notice, 2999, 1999).await);
    for _ in 0..2 {
        assert!(record(&*store, notice, 3000, 3000).await, "an interval of 0");
    }
}

pub async fn deleting_all_notices_of_an_inbox_forgets_them(store: Arc<dyn Store>) {
    let deleted = notice(inbox(&*store, "bob").await);
    let kept = notice(inbox(&*store, "carol").await);
    for notice in [deleted, kept] {
        assert!(record(&*store, notice, 1000, 0).await);
    }
    let work = transact(&*store, move |tx| {
        Box::pin(async move {
            tx.lock_conversation(deleted.inbox).await?;
            Ok(tx.delete_request_notices(deleted.inbox).await?)
        })
    });
    work.await.unwrap();
    assert!(record(&*store, deleted, 1001, 0).await);
    assert!(!record(&*store, kept, 1001, 0).await, "of another inbox");
}

pub async fn deleted_notice_does_not_count(store: Arc<dyn Store>) {
    let deleted = notice(inbox(&*store, "bob").await);
    let kept = RequestNotice {
        sender: UserId(deleted.sender.0 + 1),
        ..deleted
    };
    for notice in [deleted, kept] {
        assert!(record(&*store, notice, 1000, 0).await);
    }
    for is_committed in [false, true] {
        let work = transact(&*store, move |tx| {
            Box::pin(async move {
                tx.lock_conversation(deleted.inbox).await?;
                tx.delete_request_notice(deleted).await?;
                if is_committed { Ok(()) } else { Err(TxError::Abort) }
            })
        });
        assert_eq!(work.await.is_ok(), is_committed);
        assert_eq!(
            record(&*store, deleted, 1001, 0).await,
            is_committed,
            "only a committed deletion has an effect"
        );
    }
    assert!(!record(&*store, kept, 1001, 0).await, "of another sender");
}

pub async fn notices_of_other_requests_are_recorded(store: Arc<dyn Store>) {
    let first = notice(inbox(&*store, "bob").await);
    let others = [
        RequestNotice {
            inbox: inbox(&*store, "carol").await,
            ..first
        },
        RequestNotice {
            kind: EventKind::JoinRequested,
            ..first
        },
        RequestNotice {
            sender: UserId(72),
            ..first
        },
        RequestNotice {
            group: Some(ConversationId(10)),
            ..first
        },
        RequestNotice { group: None, ..first },
    ];
    assert!(record(&*store, first, 1000, 0).await);
    for other in others {
        assert!(record(&*store, other, 1000, 0).await, "{other:?}");
        assert!(!record(&*store, other, 1001, 1).await, "{other:?}");
    }
}

pub async fn rolled_back_notice_is_not_recorded(store: Arc<dyn Store>) {
    let notice = notice(inbox(&*store, "bob").await);
    assert!(record(&*store, notice, 1000, 0).await);
    let work = transact(&*store, move |tx| {
        Box::pin(async move {
            tx.lock_conversation(notice.inbox).await?;
            // Replaces the record, which is older than the interval.
            tx.record_request_notice(notice, Timestamp(3000), Timestamp(2000))
                .await?;
            Err::<(), _>(TxError::Abort)
        })
    });
    assert!(matches!(work.await, Err(StoreError::Aborted)));
    assert!(!record(&*store, notice, 1500, 999).await, "the first record is back");
    assert!(record(&*store, notice, 1500, 1000).await);
}

pub async fn recording_a_notice_without_the_lock_is_an_error(store: Arc<dyn Store>) {
    let notice = notice(inbox(&*store, "bob").await);
    let work = transact(&*store, move |tx| {
        Box::pin(async move { Ok(tx.record_request_notice(notice, Timestamp(1000), Timestamp(0)).await?) })
    });
    assert!(matches!(work.await, Err(StoreError::Defect(_))));
}
