//! Decides which users see a user's signals in direct conversations: that the user is typing, and
//! the user's receipts (delivery and read marks).

use std::collections::{HashMap, HashSet};

use super::error::CommandError;
use super::operations::contact::Relation;
use super::operations::policy::{self, DirectPermission, StrangerPolicy};
use super::store_access::StoreAccess;
use crate::model::{Contact, ContactState, ConversationKind, UserId};
use crate::store::MembershipView;

/// Returns whether `peer` may see that `user` is typing in their direct conversation, and the
/// receipts of `user`. Returns `false` if the store cannot be read.
pub(super) async fn may_signal(access: &StoreAccess, user: UserId, peer: UserId) -> bool {
    let store = access.store();
    let Ok(own) = access.read(store.contact(user, peer)).await else {
        return false;
    };
    let Ok(theirs) = access.read(store.contact(peer, user)).await else {
        return false;
    };
    let relation = Relation::of(own.as_ref(), theirs.as_ref());
    let accepts = relation == Relation::Stranger && accepts_stranger(access, user, peer).await.unwrap_or(false);
    policy::check_direct(DirectPermission::Signal, relation, accepts).is_ok()
}

/// Clears `peer`, and so the peer's receipts, in the views of the direct conversations in which
/// `user` may not see the signals of the peer. The rule is the one by which [`may_signal`] decides
/// whether `user` gets receipts from the peer.
pub(super) async fn hide_peers(
    access: &StoreAccess,
    user: UserId,
    memberships: &mut [MembershipView],
) -> Result<(), CommandError> {
    let of_peers = memberships.iter().filter_map(|membership| membership.peer.as_ref());
    let peers: Vec<UserId> = of_peers.map(|peer| peer.user).collect();
    if peers.is_empty() {
        return Ok(());
    }
    let contacts = Contacts::read(access, user, &peers).await?;
    let mut own_policy = None;
    for membership in memberships {
        let Some(peer) = &membership.peer else { continue };
        let relation = contacts.relation_from(peer.user);
        if relation == Relation::Stranger && own_policy.is_none() {
            let account = access.read(access.store().account(user)).await?;
            own_policy = Some(StrangerPolicy::of(account.as_ref()));
        }
        let accepts = own_policy.is_some_and(|policy| policy.accepts(membership.member.has_sent));
        if policy::check_direct(DirectPermission::Signal, relation, accepts).is_err() {
            membership.peer = None;
        }
    }
    Ok(())
}

/// Contacts of a user with some peers, and the ids of the peers who have blocked the user.
#[derive(Debug)]
struct Contacts {
    own: HashMap<UserId, Contact>,
    blockers: HashSet<UserId>,
}

impl Contacts {
    /// Reads the contacts and blocks between the user and these peers.
    async fn read(access: &StoreAccess, user: UserId, peers: &[UserId]) -> Result<Self, CommandError> {
        let contacts = access.read(access.store().contacts_between(user, peers)).await?;
        let (own, theirs): (Vec<_>, Vec<_>) = contacts.into_iter().partition(|contact| contact.owner == user);
        let blocks = theirs.into_iter().filter(|contact| contact.blocked);
        Ok(Self {
            own: own.into_iter().map(|contact| (contact.peer, contact)).collect(),
            blockers: blocks.map(|contact| contact.owner).collect(),
        })
    }

    /// Returns the relation of `peer` to the user, as seen from `peer`.
    fn relation_from(&self, peer: UserId) -> Relation {
        let own = self.own.get(&peer);
        if own.is_some_and(|contact| contact.blocked) {
            Relation::BlockedByPeer
        } else if self.blockers.contains(&peer) {
            Relation::BlocksPeer
        } else if own.is_some_and(|contact| contact.state == ContactState::Friend) {
            Relation::Friend
        } else {
            Relation::Stranger
        }
    }
}

/// Returns whether `peer` accepts direct messages from `user`, who is not a friend.
async fn accepts_stranger(access: &StoreAccess, user: UserId, peer: UserId) -> Result<bool, CommandError> {
    let store = access.store();
    let account = access.read(store.account(peer)).await?;
    let policy = StrangerPolicy::of(account.as_ref());
    if !policy.depends_on_messages() {
        return Ok(policy.accepts(false));
    }
    let kind = ConversationKind::direct(user, peer);
    let Some(conversation) = access.read(store.conversation_of_kind(&kind)).await? else {
        return Ok(policy.accepts(false));
    };
    let member = access.read(store.member(conversation, peer)).await?;
    Ok(policy.accepts(member.is_some_and(|member| member.has_sent)))
}
