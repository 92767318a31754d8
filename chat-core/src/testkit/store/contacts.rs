//! Cases about contacts between users.

use std::sync::Arc;

use super::fixture::{NOW, transact};
use crate::model::{Contact, ContactState, Timestamp, UserId};
use crate::store::Store;

const A: UserId = UserId(1);
const B: UserId = UserId(2);

fn contact(owner: UserId, peer: UserId, state: ContactState) -> Contact {
    Contact {
        owner,
        peer,
        state,
        blocked: false,
        note: String::new(),
        since: NOW,
    }
}

async fn put(store: &dyn Store, contact: Contact) {
    let work = transact(store, move |tx| {
        let contact = contact.clone();
        Box::pin(async move { Ok(tx.put_contact(&contact).await?) })
    });
    work.await.unwrap();
}

pub async fn relation_has_a_row_for_each_side(store: Arc<dyn Store>) {
    let mine = Contact {
        note: "你好，我是 Bob's \"朋友\"".into(),
        ..contact(A, B, ContactState::Requested)
    };
    let theirs = Contact {
        blocked: true,
        since: Timestamp(3),
        ..contact(B, A, ContactState::Pending)
    };
    put(&*store, mine.clone()).await;
    assert_eq!(store.contact(B, A).await.unwrap(), None);
    put(&*store, theirs.clone()).await;
    assert_eq!(store.contact(A, B).await.unwrap().as_ref(), Some(&mine));
    assert_eq!(store.contact(B, A).await.unwrap().as_ref(), Some(&theirs));
    let work = transact(&*store, |tx| Box::pin(async move { Ok(tx.lock_contacts(A, B).await?) }));
    assert_eq!(work.await.unwrap(), (Some(mine.clone()), Some(theirs.clone())));
    let work = transact(&*store, |tx| Box::pin(async move { Ok(tx.lock_contacts(B, A).await?) }));
    assert_eq!(work.await.unwrap(), (Some(theirs), Some(mine)));
    let work = transact(&*store, |tx| Box::pin(async move { Ok(tx.lock_contacts(B, B).await?) }));
    assert_eq!(work.await.unwrap(), (None, None));
}

pub async fn contacts_are_listed_in_pages_ordered_by_peer(store: Arc<dyn Store>) {
    let states = [
        ContactState::None,
        ContactState::Friend,
        ContactState::Requested,
        ContactState::Pending,
    ];
    for (peer, state) in [9, 3, 5, 4].into_iter().zip(states) {
        put(&*store, contact(B, UserId(peer), state)).await;
    }
    for (owner, peer) in [(A, B), (UserId(3), B), (B, A)] {
        put(&*store, contact(owner, peer, ContactState::Friend)).await;
    }
    let peers = async |owner, after, limit| {
        let contacts = store.contacts(owner, UserId(after), limit).await.unwrap();
        assert!(contacts.iter().all(|contact| contact.owner == owner));
        contacts.iter().map(|contact| contact.peer.0).collect::<Vec<_>>()
    };
    assert_eq!(peers(B, 0, 100).await, [1, 3, 4, 5, 9]);
    assert_eq!(peers(B, 0, 2).await, [1, 3]);
    assert_eq!(peers(B, 2, 2).await, [3, 4]);
    assert_eq!(peers(B, 4, 2).await, [5, 9]);
    assert_eq!(peers(B, 9, 2).await, [0; 0]);
    assert_eq!(peers(B, u64::MAX, 2).await, [0; 0]);
    assert_eq!(peers(UserId(77), 0, 100).await, [0; 0]);
}

pub async fn friends_returns_only_contacts_in_state_friend(store: Arc<dyn Store>) {
    let states = [
        ContactState::Friend,
        ContactState::None,
        ContactState::Requested,
        ContactState::Pending,
    ];
    for (peer, state) in (10..).zip(states) {
        put(&*store, contact(A, UserId(peer), state)).await;
    }
    let blocked = Contact {
        blocked: true,
        ..contact(A, UserId(4), ContactState::Friend)
    };
    put(&*store, blocked).await;
    assert_eq!(store.friends(A).await.unwrap(), [UserId(4), UserId(10)]);
}

pub async fn contact_is_replaced_and_deleted(store: Arc<dyn Store>) {
    put(&*store, contact(A, B, ContactState::Requested)).await;
    put(&*store, contact(B, A, ContactState::Pending)).await;
    let replaced = Contact {
        note: "new".into(),
        ..contact(A, B, ContactState::Friend)
    };
    put(&*store, replaced.clone()).await;
    assert_eq!(store.contacts(A, UserId(0), 100).await.unwrap(), [replaced]);
    for _ in 0..2 {
        let work = transact(&*store, |tx| {
            Box::pin(async move { Ok(tx.delete_contact(A, B).await?) })
        });
        work.await.unwrap();
    }
    assert_eq!(store.contact(A, B).await.unwrap(), None);
    assert!(store.contact(B, A).await.unwrap().is_some());
}

pub async fn requests_since_counts_requests_at_or_after_the_time(store: Arc<dyn Store>) {
    for (peer, since) in [(2, 99), (3, 100), (4, 101)] {
        let request = Contact {
            since: Timestamp(since),
            ..contact(A, UserId(peer), ContactState::Requested)
        };
        put(&*store, request).await;
    }
    put(&*store, contact(A, UserId(5), ContactState::Pending)).await;
    put(&*store, contact(B, A, ContactState::Requested)).await;
    for (since, count) in [(0, 3), (100, 2), (102, 0)] {
        let work = transact(&*store, move |tx| {
            Box::pin(async move { Ok(tx.requests_since(A, Timestamp(since)).await?) })
        });
        assert_eq!(work.await.unwrap(), count);
    }
}

pub async fn blocked_count_counts_the_users_whom_the_owner_blocked(store: Arc<dyn Store>) {
    for (owner, peer, blocked) in [(1, 2, true), (1, 3, true), (1, 4, false), (2, 1, true)] {
        let contact = Contact {
            blocked,
            ..contact(UserId(owner), UserId(peer), ContactState::Requested)
        };
        put(&*store, contact).await;
    }
    for (owner, count) in [(1, 2), (2, 1), (3, 0)] {
        let work = transact(&*store, move |tx| {
            Box::pin(async move { Ok(tx.blocked_count(UserId(owner)).await?) })
        });
        assert_eq!(work.await.unwrap(), count, "{owner}");
    }
}

pub async fn incoming_request_count_counts_open_requests_up_to_the_maximum(store: Arc<dyn Store>) {
    let states = [
        ContactState::Pending,
        ContactState::Friend,
        ContactState::Requested,
        ContactState::Pending,
        ContactState::None,
        ContactState::Pending,
    ];
    for (peer, state) in (10..).zip(states) {
        put(&*store, contact(A, UserId(peer), state)).await;
    }
    put(&*store, contact(B, A, ContactState::Pending)).await;
    let count = async |owner, max| {
        let work = transact(&*store, move |tx| {
            Box::pin(async move { Ok(tx.incoming_request_count(owner, max).await?) })
        });
        work.await.unwrap()
    };
    assert_eq!(count(A, u32::MAX).await, 3);
    assert_eq!(count(A, 2).await, 2, "the store stops at the maximum");
    assert_eq!((count(B, 9).await, count(UserId(10), 9).await), (1, 0));
    put(&*store, contact(A, UserId(10), ContactState::Friend)).await;
    let work = transact(&*store, |tx| {
        Box::pin(async move { Ok(tx.delete_contact(A, UserId(13)).await?) })
    });
    work.await.unwrap();
    assert_eq!(count(A, u32::MAX).await, 1);
}

pub async fn related_users_have_a_relation_on_either_side(store: Arc<dyn Store>) {
    let pairs = [(1, 2), (2, 1), (1, 5), (4, 1), (2, 4), (1, 9)].map(|(owner, peer)| (UserId(owner), UserId(peer)));
    let work = transact(&*store, move |tx| {
        Box::pin(async move {
            for (owner, peer) in pairs {
                let contact = Contact {
                    owner,
                    peer,
                    state: ContactState::None,
                    blocked: true,
                    note: String::new(),
                    since: Timestamp(1),
                };
                tx.put_contact(&contact).await?;
            }
            Ok(())
        })
    });
    work.await.unwrap();
    let related = async |user, after, limit| {
        let found = store.related_users(UserId(user), UserId(after), limit).await.unwrap();
        found.into_iter().map(|user| user.0).collect::<Vec<_>>()
    };
    assert_eq!(related(1, 0, 10).await, [2, 4, 5, 9]);
    assert_eq!(related(1, 2, 2).await, [4, 5]);
    assert_eq!(related(4, 0, 10).await, [1, 2]);
    assert_eq!(related(3, 0, 10).await, [0; 0]);
}

pub async fn contacts_between_returns_both_sides(store: Arc<dyn Store>) {
    let mut expected = Vec::new();
    for (owner, peer, is_returned) in [(1, 2, true), (2, 1, true), (3, 1, true), (1, 4, true), (5, 1, false)]
        .into_iter()
        .chain([(1, 6, false), (2, 3, false), (3, 2, false)])
    {
        let contact = Contact {
            blocked: owner == 3,
            ..contact(UserId(owner), UserId(peer), ContactState::Pending)
        };
        put(&*store, contact.clone()).await;
        if is_returned {
            expected.push(contact);
        }
    }
    let found = async |peers: &[u64]| {
        let peers: Vec<UserId> = peers.iter().copied().map(UserId).collect();
        let mut found = store.contacts_between(A, &peers).await.unwrap();
        found.sort_by_key(|contact| (contact.owner, contact.peer));
        found
    };
    expected.sort_by_key(|contact| (contact.owner, contact.peer));
    assert_eq!(found(&[2, 3, 4, 7]).await, expected);
    assert_eq!(
        found(&[4, 3, 2, 2, 1]).await,
        expected,
        "repeated peers, and the user as a peer"
    );
    let many: Vec<u64> = (2..=4).chain(1000..3000).collect();
    assert_eq!(found(&many).await, expected);
    assert_eq!(found(&[]).await, []);
    assert_eq!(found(&[7]).await, []);
}
