//! Cases about the record of changed users.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fixture::{create, create_account, device_id, new_device, new_group, put_device, transact};
use crate::model::{Member, Role, Seq, UserId};
use crate::store::{Store, StoreError, TxError};

/// Returns the number of the latest change of each changed user, or `None` if the store returns no
/// changes, for example because it does not record them.
async fn changes(store: &dyn Store) -> Option<BTreeMap<UserId, u64>> {
    let changes = store.changed_users().await.unwrap()?;
    let by_user: BTreeMap<UserId, u64> = changes.iter().map(|change| (change.user, change.number)).collect();
    assert_eq!(by_user.len(), changes.len(), "each user is returned once");
    Some(by_user)
}

/// A store for a single process may record no changes.
pub async fn writes_of_devices_and_memberships_record_a_change_of_their_user(store: Arc<dyn Store>) {
    let user = create_account(&*store, "user").await;
    let Some(before) = changes(&*store).await else { return };
    let mut numbers = vec![before.get(&user).copied()];
    put_device(&*store, new_device(user, 1)).await;
    numbers.push(changes(&*store).await.unwrap().get(&user).copied());
    let group = create(&*store, new_group("group")).await.unwrap();
    let joined = transact(&*store, move |tx| {
        Box::pin(async move {
            tx.lock_conversation(group).await?;
            Ok(tx
                .put_member(&Member::active(group, user, Role::Member, Seq(1)))
                .await?)
        })
    });
    joined.await.unwrap();
    numbers.push(changes(&*store).await.unwrap().get(&user).copied());
    let deleted = transact(&*store, move |tx| {
        Box::pin(async move {
            tx.lock_device(user, device_id(1)).await?;
            Ok(tx.delete_device(user, device_id(1)).await?)
        })
    });
    deleted.await.unwrap();
    numbers.push(changes(&*store).await.unwrap().get(&user).copied());
    assert!(numbers.is_sorted_by(|earlier, later| earlier < later), "{numbers:?}");
}

pub async fn aborted_change_of_a_user_is_not_recorded(store: Arc<dyn Store>) {
    let user = create_account(&*store, "user").await;
    put_device(&*store, new_device(user, 1)).await;
    let before = changes(&*store).await;
    let aborted = transact(&*store, move |tx| {
        Box::pin(async move {
            tx.put_device(&new_device(user, 2)).await?;
            Err::<(), _>(TxError::Abort)
        })
    });
    assert!(matches!(aborted.await, Err(StoreError::Aborted)));
    assert_eq!(changes(&*store).await, before);
}
