//! Tests of single workers, without a router.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::router::commit_watch::CommitWatches;
use crate::router::local_delivery::{DeliveryQueues, LocalDelivery};
use crate::router::registry::{ClientKnowledge, FollowResult, MissedEvents, Registry};
use crate::router::store_peers::StorePeers;
use crate::router::sweep_request::SweepRequest;
use crate::router::work_set::{WorkSet, WorkerOptions};
use crate::router::workers::catch_up::CatchUp;
use crate::router::workers::sweep::Sweep;
use crate::store::{Heartbeat, MembershipView, StoreError, UserChange};
use crate::sync::Mutex;

/// An event log that returns prepared pages and supports only reads of events.
#[derive(Debug, Default)]
struct PreparedPages(Mutex<VecDeque<Result<LogPage, StoreError>>>);

#[async_trait::async_trait]
impl EventLog for PreparedPages {
    async fn memberships(
        &self,
        _: UserId,
        _: DeviceId,
        _: ConversationId,
        _: u32,
    ) -> Result<Vec<MembershipView>, StoreError> {
        unreachable!("the worker reads events only")
    }

    async fn membership(
        &self,
        _: UserId,
        _: DeviceId,
        _: ConversationId,
    ) -> Result<Option<MembershipView>, StoreError> {
        unreachable!("the worker reads events only")
    }

    async fn events_after(&self, _: ConversationId, _: Seq, _: ReadLimit) -> Result<LogPage, StoreError> {
        self.0.lock().pop_front().unwrap_or_else(|| Ok(LogPage::default()))
    }

    async fn last_seqs(&self, _: &[ConversationId]) -> Result<Vec<(ConversationId, Seq)>, StoreError> {
        unreachable!("the worker reads events only")
    }

    async fn logins(&self, _: &[(UserId, DeviceId)]) -> Result<Vec<DeviceLogin>, StoreError> {
        unreachable!("the worker reads events only")
    }

    async fn disabled_users(&self, _: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        unreachable!("the worker reads events only")
    }

    async fn changed_users(&self) -> Result<Option<Vec<UserChange>>, StoreError> {
        unreachable!("the worker reads events only")
    }

    async fn heartbeat(&self, _: NodeId) -> Result<Heartbeat, StoreError> {
        unreachable!("the worker reads events only")
    }
}

#[tokio::test(start_paused = true)]
async fn catch_up_retries_failed_reads_and_pages_with_a_gap() {
    let world = world().await;
    let (registry, queues) = (Arc::new(Registry::default()), DeliveryQueues::default());
    let outbox = Outbox::new(OutboxLimits::default());
    let session = registry.add(caller(world.bob, 1), Arc::clone(&outbox));
    let memberships = world
        .store
        .memberships(world.bob, session.caller.device().unwrap(), ConversationId(0), u32::MAX)
        .await
        .unwrap();
    let group = memberships.iter().find(|view| view.conversation.id == world.group);
    let followed = registry.follow(
        &[session],
        group.unwrap(),
        ClientKnowledge::LogReaches(Seq::ZERO),
        MissedEvents {
            events: &[],
            is_final: true,
        },
    );
    assert!(
        matches!(followed, FollowResult::FollowingNewFeed { .. }),
        "{followed:?}"
    );

    let new_events = vec![NewEvent::message("a"), NewEvent::message("b"), NewEvent::message("c")];
    let events = append(&*world.store, world.group, world.alice, new_events)
        .await
        .unwrap();
    let page = |events: &[Event], is_end| {
        let events = events.to_vec();
        Ok(LogPage { events, is_end })
    };
    let pages = PreparedPages::default();
    pages.0.lock().extend([
        Err(StoreError::unavailable("injected by a test")),
        page(&events[1..], true),
        page(&events[..1], false),
        page(&events[1..], true),
    ]);
    let repairs = Arc::new(AtomicU64::new(0));
    let catch_up = CatchUp {
        conversations: queues.catch_up.clone(),
        options: WorkerOptions {
            max_concurrent: 1,
            retry_interval: Duration::from_millis(100),
            task: "fill a gap",
        },
        log: Arc::new(pages),
        limit: ReadLimit {
            max_events: 10,
            max_bytes: 1_000,
        },
        registry: Arc::clone(&registry),
        delivery: Arc::new(LocalDelivery::new(registry, None, queues.clone())),
        repairs: Arc::clone(&repairs),
    };
    queues.catch_up.add(world.group);
    let _ = timeout(Duration::from_secs(5), catch_up.run()).await;
    let mut taken = Vec::new();
    outbox.drain(usize::MAX, &mut taken);
    let seqs = taken.iter().map(|push| match push.push() {
        Push::Event(event) => event.seq.0,
        other => panic!("expected an event, got {other:?}"),
    });
    assert_eq!(seqs.collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(
        repairs.load(Ordering::Relaxed),
        3,
        "the page with a gap counts as a read"
    );
}

#[tokio::test(start_paused = true)]
async fn sweep_merges_requests_and_keeps_its_minimum_interval() {
    let (request, sweeps) = (SweepRequest::default(), Arc::new(AtomicU64::new(0)));
    let sweep = Sweep {
        request: request.clone(),
        registry: Arc::new(Registry::default()),
        store_peers: StorePeers::default(),
        has_bus: true,
        compare: WorkSet::default(),
        users: WorkSet::default(),
        changes: WorkSet::default(),
        presence: WorkSet::default(),
        watches: CommitWatches::default(),
        interval: Duration::from_secs(1_000_000),
        min_interval: Duration::from_secs(1),
        sweeps: Arc::clone(&sweeps),
    };
    let requests = async {
        for _ in 0..100 {
            request.request();
            request.request();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let _ = timeout(Duration::from_secs(60), async { tokio::join!(sweep.run(), requests) }).await;
    let sweeps = sweeps.load(Ordering::Relaxed);
    assert!(
        (10..=12).contains(&sweeps),
        "{sweeps} sweeps in ten seconds of requests"
    );
}
