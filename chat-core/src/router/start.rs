//! Builds a router and starts its workers.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::announcements::RecentAnnouncements;
use super::clock_skew::ClockStatus;
use super::cluster_link::ClusterLink;
use super::config::RouterConfig;
use super::envelope::EnvelopeCodec;
use super::event_log::{EventLog, ReadLimit, TimeLimited};
use super::follow_starter::FollowStarter;
use super::handle::{Counters, NodeStatus, Router};
use super::local_delivery::{DeliveryQueues, LocalDelivery};
use super::other_nodes::OtherNodes;
use super::peer_monitor::PeerMonitor;
use super::publish_queue::PublishQueue;
use super::registry::Registry;
use super::store_peers::StorePeers;
use super::sweep_request::SweepRequest;
use super::tasks::Tasks;
use super::topic_requests::TopicRequests;
use super::unconfirmed::UnconfirmedCommits;
use super::work_set::{WorkSet, WorkerOptions};
use super::workers::catch_up::CatchUp;
use super::workers::changed_users::{FindChangedUsers, ReadChanges};
use super::workers::compare::Compare;
use super::workers::heartbeat::{BusParts, HeartbeatWorker};
use super::workers::inbound::Inbound;
use super::workers::join::Join;
use super::workers::presence::PublishPresence;
use super::workers::publisher::Publisher;
use super::workers::recheck::{LoginRecheck, SessionCheck, UserRecheck};
use super::workers::store_heartbeat::StoreHeartbeat;
use super::workers::subscriptions::Subscriptions;
use super::workers::sweep::Sweep;
use super::workers::unconfirmed::ConfirmCommits;
use crate::bus::{BusError, MessageBus, Subscriber, Topic};
use crate::clock::Clock;
use crate::cluster::Presence;
use crate::model::{NodeId, StoreEpoch, UserId};
use crate::sync::Mutex;

/// Maximum number of queued envelopes with heartbeats. The largest heartbeat takes fewer envelopes.
const MAX_QUEUED_HEARTBEATS: usize = 256;
/// Maximum number of items in progress at the same time in each worker that has no other maximum.
const MAX_CONCURRENT: usize = 8;
/// Maximum number of changes of bus subscriptions in progress at the same time.
const MAX_CONCURRENT_SUBSCRIPTIONS: usize = 16;

/// Pause after each changed user whose memberships were read. With [`MAX_CONCURRENT`] rechecks at
/// the same time, the node reads the memberships of at most 800 changed users a second.
const CHANGED_USER_PAUSE: Duration = Duration::from_millis(10);

/// Everything that a [`Router`] is built from.
#[derive(Debug)]
pub struct RouterParts {
    /// The logs, memberships and logins.
    pub log: Arc<dyn EventLog>,
    /// Bus that carries announcements between nodes. Without a bus, nodes on the same store find
    /// each other's events by polling the store, by default every second, and notices do not reach
    /// other nodes.
    pub bus: Option<Arc<dyn MessageBus>>,
    /// Presence service in which this node publishes the devices that are connected to it.
    pub presence: Arc<dyn Presence>,
    /// Clock of this node, which is compared with the store's clock.
    pub clock: Arc<dyn Clock>,
    /// Id of this node.
    pub node: NodeId,
    /// Number that grows at each start of this node.
    pub incarnation: u64,
    /// Epoch of the store. Envelopes from nodes with another store epoch are ignored.
    pub epoch: StoreEpoch,
    /// Intervals and bounds.
    pub config: RouterConfig,
}

/// The parts of a router and of its workers, while [`Router::start`] or
/// [`Router::start_announcer`] puts them together.
struct Assembly {
    router: Router,
    /// The event log, with a timeout for each read.
    log: Arc<dyn EventLog>,
    queues: DeliveryQueues,
    /// Users whose logins and memberships have to be read again.
    users: WorkSet<UserId>,
    /// Requests to read the recent changes of users.
    changes: WorkSet<ReadChanges>,
    codec: EnvelopeCodec,
    config: RouterConfig,
}

/// The parts by which a node or an announcer publishes envelopes on the bus.
struct Outbound {
    bus: Arc<dyn MessageBus>,
    queue: PublishQueue,
    recent: RecentAnnouncements,
}

impl Outbound {
    fn new(bus: Arc<dyn MessageBus>, config: &RouterConfig) -> Self {
        Self {
            bus,
            queue: PublishQueue::new(config.max_queued_envelopes),
            recent: RecentAnnouncements::new(config.peer_timeout),
        }
    }

    fn link_of_node(&self, codec: EnvelopeCodec) -> ClusterLink {
        ClusterLink::of_node(codec, self.queue.clone(), self.recent.clone())
    }

    fn link_of_announcer(&self, codec: EnvelopeCodec) -> ClusterLink {
        ClusterLink::of_announcer(codec, self.queue.clone(), self.recent.clone())
    }
}

/// A node's connection to the bus, with its queues and the record of received heartbeats.
struct BusConnection {
    outbound: Outbound,
    subscriber: Box<dyn Subscriber>,
    topics: TopicRequests,
    heartbeats: PublishQueue,
    monitor: Arc<PeerMonitor>,
}

impl BusConnection {
    async fn open(bus: Arc<dyn MessageBus>, config: &RouterConfig, stop: &CancellationToken) -> Result<Self, BusError> {
        Ok(Self {
            subscriber: bus.connect().await?,
            outbound: Outbound::new(bus, config),
            topics: TopicRequests::new(config.bus_timeout, stop.clone()),
            heartbeats: PublishQueue::new(MAX_QUEUED_HEARTBEATS),
            monitor: Arc::new(PeerMonitor::new(config.peer_timeout, config.min_heartbeat_repeats())),
        })
    }
}

impl RouterParts {
    const fn codec(&self) -> EnvelopeCodec {
        EnvelopeCodec {
            epoch: self.epoch,
            node: self.node,
            incarnation: self.incarnation,
        }
    }
}

impl Router {
    /// Starts a router and its tasks on the current tokio runtime.
    ///
    /// # Errors
    /// [`BusError`] if the bus cannot be reached or is closed; then no task was started.
    pub async fn start(parts: RouterParts) -> Result<Self, BusError> {
        let codec = parts.codec();
        let stop = CancellationToken::new();
        let bus = match parts.bus {
            Some(bus) => Some(BusConnection::open(bus, &parts.config, &stop).await?),
            None => None,
        };
        let link = bus.as_ref().map(|bus| bus.outbound.link_of_node(codec));
        let topics = bus.as_ref().map(|bus| bus.topics.clone());
        let assembly = Assembly::new(parts.log, link, topics, codec, parts.config, stop);
        assembly.start_anti_entropy(bus.is_some());
        assembly.start_heartbeats(bus.as_ref(), parts.clock);
        assembly.start_presence(parts.presence);
        if let Some(bus) = bus {
            let topics = bus.topics.clone();
            assembly.start_bus(bus);
            topics.subscribe(Topic::Control).await;
        }
        Ok(assembly.router)
    }

    /// Starts a router for a program that commits events but is not a node itself: it announces its
    /// commits, and receives nothing. The nodes do not list it as a node, unless there is no bus:
    /// then its heartbeats in the store make them poll for its commits.
    #[must_use]
    pub fn start_announcer(parts: RouterParts) -> Self {
        let codec = parts.codec();
        let outbound = parts.bus.map(|bus| Outbound::new(bus, &parts.config));
        let link = outbound.as_ref().map(|outbound| outbound.link_of_announcer(codec));
        let assembly = Assembly::new(parts.log, link, None, codec, parts.config, CancellationToken::new());
        assembly.start_anti_entropy(outbound.is_some());
        match outbound {
            Some(outbound) => assembly.start_publisher(outbound.queue, outbound.bus),
            None => assembly.start_heartbeats(None, parts.clock),
        }
        assembly.router
    }
}

impl Assembly {
    fn new(
        log: Arc<dyn EventLog>,
        link: Option<ClusterLink>,
        topics: Option<TopicRequests>,
        codec: EnvelopeCodec,
        config: RouterConfig,
        stop: CancellationToken,
    ) -> Self {
        let limited: Arc<dyn EventLog> = Arc::new(TimeLimited::new(Arc::clone(&log), config.read_timeout));
        let registry = Arc::new(Registry::default());
        let queues = DeliveryQueues::default();
        let delivery = Arc::new(LocalDelivery::new(
            Arc::clone(&registry),
            topics.clone(),
            queues.clone(),
        ));
        let store_peers = StorePeers::default();
        let router = Router {
            follow_starter: FollowStarter {
                registry: Arc::clone(&registry),
                log: Arc::clone(&limited),
                delivery: Arc::clone(&delivery),
            },
            registry,
            delivery,
            log,
            topics,
            link: link.unwrap_or_else(ClusterLink::without_bus),
            nodes: NodeStatus {
                others: OtherNodes::new(codec.node, store_peers.clone()),
                store_peers,
                clock: ClockStatus::default(),
            },
            joins: queues.joins.clone(),
            logins: WorkSet::default(),
            unconfirmed: UnconfirmedCommits::default(),
            sweep: SweepRequest::default(),
            watches: queues.watches.clone(),
            counters: Counters::default(),
            tasks: Arc::new(Tasks::new(stop)),
        };
        Self {
            router,
            log: limited,
            queues,
            users: WorkSet::default(),
            changes: WorkSet::default(),
            codec,
            config,
        }
    }

    fn options(&self, task: &'static str) -> WorkerOptions {
        WorkerOptions {
            max_concurrent: MAX_CONCURRENT,
            retry_interval: self.config.retry_interval,
            task,
        }
    }

    /// Starts the workers that find in the store what was not announced to this node: events,
    /// commits that the store did not confirm, and changes of users.
    fn start_anti_entropy(&self, has_bus: bool) {
        let Self {
            router, log, queues, ..
        } = self;
        let tasks = &router.tasks;
        let catch_up = CatchUp {
            conversations: queues.catch_up.clone(),
            options: self.options("fill a gap"),
            log: Arc::clone(log),
            limit: ReadLimit {
                max_events: self.config.max_catch_up_events,
                max_bytes: self.config.max_catch_up_bytes,
            },
            registry: Arc::clone(&router.registry),
            delivery: Arc::clone(&router.delivery),
            repairs: Arc::clone(&router.counters.repairs),
        };
        tasks.spawn("catch-up", catch_up.run());
        let compare = Compare {
            conversations: queues.compare.clone(),
            log: Arc::clone(log),
            delivery: Arc::clone(&router.delivery),
            retry_interval: self.config.retry_interval,
        };
        tasks.spawn("compare", compare.run());
        let sweep = Sweep {
            request: router.sweep.clone(),
            registry: Arc::clone(&router.registry),
            store_peers: router.nodes.store_peers.clone(),
            has_bus,
            compare: queues.compare.clone(),
            users: self.users.clone(),
            changes: self.changes.clone(),
            presence: queues.presence.clone(),
            watches: queues.watches.clone(),
            interval: self.config.sweep_interval,
            min_interval: self.config.poll_interval,
            sweeps: Arc::clone(&router.counters.sweeps),
        };
        tasks.spawn("sweep", sweep.run());
        let confirm = ConfirmCommits {
            commits: router.unconfirmed.clone(),
            log: Arc::clone(log),
            delivery: Arc::clone(&router.delivery),
            joins: queues.joins.clone(),
            link: router.link.clone(),
            interval: self.config.poll_interval,
        };
        tasks.spawn("confirm commits", confirm.run());
        self.start_user_workers();
    }

    /// Starts the workers that make the sessions match the logins and memberships of their users.
    fn start_user_workers(&self) {
        let Self {
            router, log, queues, ..
        } = self;
        let tasks = &router.tasks;
        let join = Join {
            joins: queues.joins.clone(),
            options: self.options("follow a conversation"),
            registry: Arc::clone(&router.registry),
            log: Arc::clone(log),
            follow_starter: router.follow_starter.clone(),
        };
        tasks.spawn("join", join.run());
        let check = SessionCheck {
            registry: Arc::clone(&router.registry),
            log: Arc::clone(log),
            delivery: Arc::clone(&router.delivery),
        };
        let logins = LoginRecheck {
            logins: router.logins.clone(),
            options: self.options("recheck a user's logins"),
            check: check.clone(),
        };
        tasks.spawn("login recheck", logins.run());
        let users = UserRecheck {
            users: self.users.clone(),
            options: WorkerOptions {
                max_concurrent: 1,
                ..self.options("recheck a user")
            },
            check: check.clone(),
            joins: queues.joins.clone(),
            pause: self.config.user_recheck_rate.per / self.config.user_recheck_rate.count.max(1),
        };
        tasks.spawn("user recheck", users.run());
        let changed = WorkSet::default();
        let changed_users = UserRecheck {
            users: changed.clone(),
            options: self.options("recheck a changed user"),
            check: check.clone(),
            joins: queues.joins.clone(),
            pause: CHANGED_USER_PAUSE,
        };
        tasks.spawn("changed users", changed_users.run());
        let changes = FindChangedUsers {
            requests: self.changes.clone(),
            options: self.options("read the changes of users"),
            log: Arc::clone(log),
            check,
            changed,
            all_users: self.users.clone(),
            known: Mutex::default(),
        };
        tasks.spawn("find changed users", changes.run());
    }

    fn start_heartbeats(&self, bus: Option<&BusConnection>, clock: Arc<dyn Clock>) {
        let router = &self.router;
        let heartbeat = HeartbeatWorker {
            interval: self.config.heartbeat_interval,
            others: router.nodes.others.clone(),
            bus: bus.map(|bus| BusParts {
                codec: self.codec,
                recent: bus.outbound.recent.clone(),
                queue: bus.heartbeats.clone(),
                monitor: Arc::clone(&bus.monitor),
            }),
            registry: Arc::clone(&router.registry),
            compare: self.queues.compare.clone(),
            sweep: router.sweep.clone(),
        };
        router.tasks.spawn("heartbeat", heartbeat.run());
        let store_heartbeat = StoreHeartbeat {
            node: self.codec.node,
            log: Arc::clone(&self.log),
            clock,
            interval: self.config.store_heartbeat_interval,
            peers: router.nodes.store_peers.clone(),
            clock_status: router.nodes.clock.clone(),
            sweep: router.sweep.clone(),
        };
        router.tasks.spawn("store heartbeat", store_heartbeat.run());
    }

    fn start_presence(&self, presence: Arc<dyn Presence>) {
        let publish = PublishPresence {
            devices: self.queues.presence.clone(),
            options: WorkerOptions {
                retry_interval: self.config.poll_interval,
                ..self.options("publish a device's presence")
            },
            registry: Arc::clone(&self.router.registry),
            presence,
            node: self.codec.node,
            call_timeout: self.config.bus_timeout,
        };
        self.router.tasks.spawn("presence", publish.run());
    }

    fn start_bus(&self, connection: BusConnection) {
        let (router, call_timeout) = (&self.router, self.config.bus_timeout);
        let subscriptions = Subscriptions {
            requests: connection.topics,
            options: WorkerOptions {
                max_concurrent: MAX_CONCURRENT_SUBSCRIPTIONS,
                ..self.options("change a subscription")
            },
            topics: connection.subscriber.topics(),
            node: self.codec.node,
            registry: Arc::clone(&router.registry),
            compare: self.queues.compare.clone(),
            users: self.users.clone(),
            call_timeout,
        };
        router.tasks.spawn("subscriptions", subscriptions.run());
        for queue in [connection.outbound.queue, connection.heartbeats] {
            self.start_publisher(queue, Arc::clone(&connection.outbound.bus));
        }
        let inbound = Inbound {
            subscriber: connection.subscriber,
            codec: self.codec,
            monitor: connection.monitor,
            registry: Arc::clone(&router.registry),
            delivery: Arc::clone(&router.delivery),
            joins: self.queues.joins.clone(),
            logins: router.logins.clone(),
            sweep: router.sweep.clone(),
            retry_interval: self.config.retry_interval,
        };
        router.tasks.spawn("inbound", inbound.run());
    }

    fn start_publisher(&self, queue: PublishQueue, bus: Arc<dyn MessageBus>) {
        let publisher = Publisher {
            queue,
            codec: self.codec,
            bus,
            call_timeout: self.config.bus_timeout,
        };
        self.router.tasks.spawn("publisher", publisher.run());
    }
}
