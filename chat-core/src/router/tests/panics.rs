//! Tests that a panic in a port (the event log or the bus) ends no worker, and that the router
//! works again once the port does.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::bus::{BusError, BusMessage, Subscriber, Topics};
use crate::store::{Heartbeat, MembershipView, StoreError, UserChange};

/// Switch that makes the ports of a test panic. Clones share the switch.
#[derive(Clone, Debug, Default)]
struct Switch(Arc<AtomicBool>);

impl Switch {
    fn set(&self, panics: bool) {
        self.0.store(panics, Ordering::Relaxed);
    }

    fn panic_if_set(&self) {
        assert!(!self.0.load(Ordering::Relaxed), "injected by a test");
    }
}

#[derive(Debug)]
struct PanickingLog(StoreEventLog, Switch);

#[async_trait::async_trait]
impl EventLog for PanickingLog {
    async fn memberships(
        &self,
        user: UserId,
        device: DeviceId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<MembershipView>, StoreError> {
        self.1.panic_if_set();
        self.0.memberships(user, device, after, limit).await
    }

    async fn membership(
        &self,
        user: UserId,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<MembershipView>, StoreError> {
        self.1.panic_if_set();
        self.0.membership(user, device, conversation).await
    }

    async fn events_after(
        &self,
        conversation: ConversationId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<LogPage, StoreError> {
        self.1.panic_if_set();
        self.0.events_after(conversation, after, limit).await
    }

    async fn last_seqs(&self, conversations: &[ConversationId]) -> Result<Vec<(ConversationId, Seq)>, StoreError> {
        self.1.panic_if_set();
        self.0.last_seqs(conversations).await
    }

    async fn logins(&self, devices: &[(UserId, DeviceId)]) -> Result<Vec<DeviceLogin>, StoreError> {
        self.1.panic_if_set();
        self.0.logins(devices).await
    }

    async fn disabled_users(&self, users: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        self.1.panic_if_set();
        self.0.disabled_users(users).await
    }

    async fn changed_users(&self) -> Result<Option<Vec<UserChange>>, StoreError> {
        self.1.panic_if_set();
        self.0.changed_users().await
    }

    async fn heartbeat(&self, node: NodeId) -> Result<Heartbeat, StoreError> {
        self.1.panic_if_set();
        self.0.heartbeat(node).await
    }
}

#[derive(Debug)]
struct PanickingBus(MemoryBus, Switch);

#[derive(Debug)]
struct PanickingSubscriber(Box<dyn Subscriber>, Switch);

#[derive(Debug)]
struct PanickingTopics(Box<dyn Topics>, Switch);

#[async_trait::async_trait]
impl MessageBus for PanickingBus {
    async fn publish(&self, topic: Topic, envelope: bytes::Bytes) -> Result<(), BusError> {
        self.1.panic_if_set();
        self.0.publish(topic, envelope).await
    }

    async fn connect(&self) -> Result<Box<dyn Subscriber>, BusError> {
        Ok(Box::new(PanickingSubscriber(self.0.connect().await?, self.1.clone())))
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

#[async_trait::async_trait]
impl Subscriber for PanickingSubscriber {
    fn topics(&self) -> Box<dyn Topics> {
        Box::new(PanickingTopics(self.0.topics(), self.1.clone()))
    }

    async fn next(&mut self) -> Option<BusMessage> {
        self.1.panic_if_set();
        let message = self.0.next().await;
        self.1.panic_if_set();
        message
    }
}

#[async_trait::async_trait]
impl Topics for PanickingTopics {
    async fn subscribe(&self, topic: Topic) -> Result<(), BusError> {
        self.1.panic_if_set();
        self.0.subscribe(topic).await
    }

    async fn unsubscribe(&self, topic: Topic) -> Result<(), BusError> {
        self.1.panic_if_set();
        self.0.unsubscribe(topic).await
    }
}

/// Starts a node whose log and bus panic while `panics` is set.
async fn panicking_node(world: &World, bus: &MemoryBus, panics: &Switch) -> Router {
    let bus = Arc::new(PanickingBus(bus.clone(), panics.clone()));
    let log = StoreEventLog::new(Arc::clone(&world.store));
    let parts = RouterParts {
        log: Arc::new(PanickingLog(log, panics.clone())),
        ..parts(world, Arc::clone(&world.store), Some(bus), without_sweeps()).await
    };
    Router::start(parts).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn workers_continue_after_their_log_and_bus_panicked() {
    let world = world().await;
    let (bus, panics) = (MemoryBus::new(), Switch::default());
    let here = node(&world, Some(Arc::new(bus.clone()))).await;
    let there = panicking_node(&world, &bus, &panics).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await.with_settle_timeout();
    for round in 0..3 {
        panics.set(true);
        for _ in 0..10 {
            send_message(&world, &here, "missed").await;
            there.recheck_sessions(world.bob, CloseCode::Replaced);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // The panic of a read during `subscribe` reaches the caller.
        let (router, carol) = (there.clone(), caller(world.carol, 9));
        let started = tokio::spawn(async move {
            let outbox = Outbox::new(OutboxLimits::default());
            router.subscribe(carol, outbox).await.map(drop)
        });
        assert!(started.await.unwrap_err().is_panic());
        panics.set(false);
        tokio::time::sleep(SETTLE_TIME).await;
        let first = round * 11 + 1;
        assert_eq!(bob.seqs(10).await, (first..first + 10).collect::<Vec<_>>());
        // This event arrives at once only by its doorbell, because no node polls the store any
        // more.
        send_message(&world, &here, "announced").await;
        bob.timeout = Duration::from_millis(50);
        assert_eq!(bob.seqs(1).await, [first + 10]);
        bob.timeout = SETTLE_TIME;
        assert_eq!(here.stats().sessions, 0);
    }
    // The node whose ports panicked announces its commits again.
    let mut carol = Reader::attach(&here, world.carol, 1).await;
    send_message(&world, &there, "announced again").await;
    carol.timeout = Duration::from_millis(50);
    assert_eq!(carol.event().await.seq, Seq(34));
}
