//! Fixture: a group of any size, and sessions of its members on one node.

use std::sync::Arc;

use chat_core::cluster::MemoryPresence;
use chat_core::model::{
    Caller, ConversationId, ConversationKind, DeviceId, GroupProfile, JoinPolicy, Member, NodeId, Role, Seq,
    SessionEpoch, Timestamp, UserId,
};
use chat_core::router::{Outbox, OutboxLimits, Router, RouterConfig, RouterParts, StoreEventLog, SubscriptionGuard};
use chat_core::store::{NewConversation, Store, StoreError};
use chat_core::testkit::store::{new_account, transact};

/// Creates `size` accounts and a group of them. Returns the group and its members.
///
/// # Errors
/// The store fails, or it has a group from an earlier call with the same `size`
/// ([`StoreError::Defect`]).
pub async fn create(store: &dyn Store, size: usize) -> Result<(ConversationId, Vec<UserId>), StoreError> {
    transact(store, move |tx| {
        Box::pin(async move {
            let profile = GroupProfile {
                name: format!("group of {size}"),
                key: format!("group of {size}"),
                skeleton: format!("group of {size}"),
                description: String::new(),
                join_policy: JoinPolicy::Open,
                history_visible: false,
                unlisted: false,
            };
            let new = NewConversation {
                kind: ConversationKind::Group,
                group: Some(profile),
                created: Timestamp(1_790_000_000_000),
            };
            let group = tx.create_conversation(new).await?.expect("a new name");
            let mut members = Vec::with_capacity(size);
            for n in 0..size {
                let user = tx
                    .create_account(new_account(&format!("member-{size}-{n}")))
                    .await?
                    .expect("a new name");
                tx.put_member(&Member::active(group, user, Role::Member, Seq(1)))
                    .await?;
                members.push(user);
            }
            Ok((group, members))
        })
    })
    .await
}

/// Sessions of some members on one node, each with its outbox.
#[derive(Debug)]
pub struct Audience {
    /// Router of the node.
    pub router: Router,
    /// Outboxes of the sessions.
    pub outboxes: Vec<Arc<Outbox>>,
    /// Guards that keep the sessions subscribed to the router.
    _subscriptions: Vec<SubscriptionGuard>,
}

impl Audience {
    /// Starts a router on `store`, and subscribes one session of each member to it.
    ///
    /// # Panics
    /// If the store cannot be read.
    pub async fn attach(store: Arc<dyn Store>, members: &[UserId]) -> Self {
        let epoch = store.epoch().await.expect("the store is open");
        let parts = RouterParts {
            clock: Arc::new(chat_core::clock::SystemClock),
            log: Arc::new(StoreEventLog::new(store)),
            bus: None,
            presence: Arc::new(MemoryPresence::new()),
            node: NodeId::random(),
            incarnation: 1,
            epoch,
            config: RouterConfig::default(),
        };
        let router = Router::start(parts).await.expect("a router without a bus starts");
        let (mut outboxes, mut subscriptions) = (Vec::new(), Vec::new());
        for user in members {
            let outbox = Outbox::new(OutboxLimits::default());
            let caller = Caller::login(*user, DeviceId::random(), SessionEpoch(0));
            let (subscription, _) = router
                .subscribe(caller, Arc::clone(&outbox))
                .await
                .expect("the store is open");
            outboxes.push(outbox);
            subscriptions.push(subscription);
        }
        Self {
            router,
            outboxes,
            _subscriptions: subscriptions,
        }
    }
}
