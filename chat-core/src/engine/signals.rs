//! Visibility of typing and reading between users.

use super::operations::contact::Relation;
use super::operations::policy::{self, DirectPermission};
use super::units::Units;
use crate::model::{DirectPolicy, UserId};

/// Returns whether `peer` may see `user` typing and reading; `false` if the store cannot be read.
pub(super) async fn may_signal(units: &Units, user: UserId, peer: UserId) -> bool {
    let store = units.store();
    let own = units.read(store.contact(user, peer)).await;
    let theirs = units.read(store.contact(peer, user)).await;
    let (Ok(own), Ok(theirs)) = (own, theirs) else {
        return false;
    };
    let relation = Relation::of(own.as_ref(), theirs.as_ref());
    let peer_accepts_everyone = relation == Relation::Stranger
        && units
            .read(store.account(peer))
            .await
            .ok()
            .flatten()
            .is_some_and(|account| account.direct_policy == DirectPolicy::Everyone);
    policy::direct(DirectPermission::Signal, relation, peer_accepts_everyone).is_ok()
}
