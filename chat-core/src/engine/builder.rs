//! Builder that assembles an engine from its parts.

use std::sync::Arc;

use thiserror::Error;

use super::attach::Sessions;
use super::commands::{
    AccountCommands, ContactCommands, ContactOptions, Dispatcher, GroupCommands, LoginOptions, Logins, MessageCommands,
    PageLimits, PresenceCommands, ReadingCommands,
};
use super::config::EngineConfig;
use super::directory::Directory;
use super::feed::Feeds;
use super::hook_calls::HookCalls;
use super::lifecycle::Lifecycle;
use super::limits::UserLimits;
use super::operations::group::GroupLimits;
use super::operations::message::BatchRules;
use super::operator::OperatorParts;
use super::units::Units;
use super::workers::{
    AdvertiseWorker, AppendPorts, AppendQueue, AppendWorker, CursorQueue, CursorWorker, DirectOpener, NodeAdvertiser,
    ObserverQueue, PresenceQueue, PresenceView, PresenceWorker, Publisher, ReadinessState, ReadinessWorker,
    SessionEnder, SessionRecheckWorker, observers,
};
use super::{Engine, Parts};
use crate::auth::{Authenticator, PasswordAuthenticator, PasswordHashError};
use crate::bus::{BusError, MessageBus};
use crate::clock::{Clock, SystemClock};
use crate::cluster::{ClusterError, Discovery, MemoryPresence, NodeInfo, Presence};
use crate::hooks::Hooks;
use crate::model::{NodeId, StoreEpoch};
use crate::router::{EventLog, Router, RouterParts, StoreEventLog};
use crate::store::{Store, StoreError};

/// Error of building an engine.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A field of the configuration is out of range.
    #[error("the configuration's `{field}` must be {rule}")]
    Config {
        /// Name of the field.
        field: &'static str,
        /// Rule that its value breaks.
        rule: &'static str,
    },
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    /// The bus cannot be reached.
    #[error("the message bus cannot be reached")]
    Bus(#[from] BusError),
    /// The discovery, the directory of the cluster's nodes, cannot be reached.
    #[error("the cluster's discovery cannot be reached")]
    Discovery(#[from] ClusterError),
    /// The cost of password hashing is out of range, or the operating system returns no random
    /// bytes.
    #[error("passwords cannot be hashed")]
    Passwords(#[from] PasswordHashError),
    /// `build` was called outside a tokio runtime.
    #[error("an engine can only be built inside a tokio runtime")]
    NoRuntime,
}

/// Builder of an [`Engine`]. All parts but the store have defaults; the order of calls does not
/// matter.
#[derive(Debug)]
pub struct EngineBuilder {
    store: Arc<dyn Store>,
    event_log: Option<Arc<dyn EventLog>>,
    bus: Option<Arc<dyn MessageBus>>,
    discovery: Option<Arc<dyn Discovery>>,
    presence: Option<Arc<dyn Presence>>,
    authenticator: Option<Arc<dyn Authenticator>>,
    passwords: Option<Arc<PasswordAuthenticator>>,
    hooks: Vec<Arc<dyn Hooks>>,
    clock: Arc<dyn Clock>,
    config: EngineConfig,
    node: NodeId,
    is_node: bool,
}

impl EngineBuilder {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            event_log: None,
            bus: None,
            discovery: None,
            presence: None,
            authenticator: None,
            passwords: None,
            hooks: Vec::new(),
            clock: Arc::new(SystemClock),
            config: EngineConfig::default(),
            node: NodeId::random(),
            is_node: true,
        }
    }

    /// Connects the engine with other engines on the same store. Default: no bus. Without one,
    /// engines that find each other through the store ([`Store::heartbeat`]) poll it every second
    /// for each other's commits.
    #[must_use]
    pub fn bus(mut self, bus: Arc<dyn MessageBus>) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Announces the node to the cluster. Default: the node is not announced.
    #[must_use]
    pub fn discovery(mut self, discovery: Arc<dyn Discovery>) -> Self {
        self.discovery = Some(discovery);
        self
    }

    /// Sets the presence port, which records the users that are connected. Engines that share a bus
    /// must share it too. Default: the memory of this engine.
    #[must_use]
    pub fn presence(mut self, presence: Arc<dyn Presence>) -> Self {
        self.presence = Some(presence);
        self
    }

    /// Sets the authenticator, which decides who may log in. Default: users with the right
    /// [password](Self::passwords).
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Lets users register, change their passwords, and get passwords from operators. An
    /// application whose own authenticator also accepts passwords passes the same `passwords` to
    /// both. Default: passwords in the store, with the options of [`EngineConfig`], if there is no
    /// [authenticator](Self::authenticator); otherwise none.
    #[must_use]
    pub fn passwords(mut self, passwords: Arc<PasswordAuthenticator>) -> Self {
        self.passwords = Some(passwords);
        self
    }

    /// Adds hooks with the application's own rules. Hooks are asked in the order in which they were
    /// added. Default: none.
    #[must_use]
    pub fn hooks(mut self, hooks: Arc<dyn Hooks>) -> Self {
        self.hooks.push(hooks);
        self
    }

    /// Sets the clock that gives the time of day. Default: the operating system's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the configuration of the engine.
    #[must_use]
    pub fn config(mut self, config: EngineConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the node's id. Default: a random one for each engine.
    #[must_use]
    pub fn node(mut self, node: NodeId) -> Self {
        self.node = node;
        self
    }

    /// Builds an engine that is not a node of the cluster, for a program that runs beside the nodes
    /// and changes the data that they serve, such as an operator's tool. The engine announces its
    /// commits on the bus, but receives nothing from it, so it cannot serve sessions. Await
    /// [`Engine::flush_announcements`] before the program ends. Default: the engine is a node.
    #[must_use]
    pub const fn operator_only(mut self) -> Self {
        self.is_node = false;
        self
    }

    /// Sets the log from which sessions and feeds get the events that they receive. It has to
    /// contain every event that the store commits. Default: the store.
    #[cfg(feature = "unstable")]
    #[must_use]
    pub fn event_log(mut self, event_log: Arc<dyn EventLog>) -> Self {
        self.event_log = Some(event_log);
        self
    }

    /// Checks the parts and starts the engine's tasks on the current tokio runtime.
    ///
    /// # Errors
    /// [`BuildError`]; no task was left running.
    pub async fn build(self) -> Result<Engine, BuildError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(BuildError::NoRuntime);
        }
        let config = self.config;
        config
            .validate()
            .map_err(|(field, rule)| BuildError::Config { field, rule })?;
        let (authenticator, passwords) = match self.authenticator {
            Some(authenticator) => (authenticator, self.passwords),
            None => {
                // Without an authenticator of the application, users log in with passwords only.
                let passwords = default_passwords(self.passwords, &self.store, &config)?;
                (Arc::clone(&passwords) as Arc<dyn Authenticator>, Some(passwords))
            }
        };
        let epoch = self.store.epoch().await?;
        let presence = self.presence.unwrap_or_else(|| Arc::new(MemoryPresence::new()));
        let incarnation = u64::try_from(self.clock.now().0).unwrap_or(0);
        let log = self
            .event_log
            .unwrap_or_else(|| Arc::new(StoreEventLog::new(Arc::clone(&self.store))));
        let parts = RouterParts {
            log,
            bus: self.bus,
            presence: Arc::clone(&presence),
            clock: Arc::clone(&self.clock),
            node: self.node,
            incarnation,
            epoch,
            config: config.router.clone(),
        };
        let router = match self.is_node {
            true => Router::start(parts).await?,
            false => Router::start_announcer(parts),
        };
        let me = NodeInfo::new(self.node, incarnation);
        let discovery = self.discovery.filter(|_| self.is_node);
        let advertiser = join_cluster(discovery, me, &router).await?;
        let ports = Ports {
            units: Arc::new(Units::new(Arc::clone(&self.store), self.clock, router.clone(), &config)),
            store: self.store,
            authenticator,
            passwords,
            hooks: self.hooks.into(),
            presence: Arc::new(PresenceView::new(presence, router.clone(), self.node)),
            advertiser,
            router,
            node: self.node,
        };
        Ok(start(config, epoch, ports))
    }
}

/// Announces the node in the cluster and lets the router watch the other nodes, if there is a
/// discovery. Stops the router if that fails.
async fn join_cluster(
    discovery: Option<Arc<dyn Discovery>>,
    me: NodeInfo,
    router: &Router,
) -> Result<Option<Arc<NodeAdvertiser>>, ClusterError> {
    let Some(discovery) = discovery else {
        return Ok(None);
    };
    match NodeAdvertiser::join(discovery, me).await {
        Ok(advertiser) => {
            router.watch_nodes(advertiser.watch());
            Ok(Some(Arc::new(advertiser)))
        }
        Err(error) => {
            router.shutdown().await;
            Err(error)
        }
    }
}

/// Returns `passwords`, or if there are none, passwords in the store with the options of `config`.
fn default_passwords(
    passwords: Option<Arc<PasswordAuthenticator>>,
    store: &Arc<dyn Store>,
    config: &EngineConfig,
) -> Result<Arc<PasswordAuthenticator>, PasswordHashError> {
    match passwords {
        Some(passwords) => Ok(passwords),
        None => PasswordAuthenticator::new(Arc::clone(store), config.passwords.clone(), config.throttle.clone())
            .map(Arc::new),
    }
}

/// Ports, and parts that depend on ports only, from which the engine is assembled.
struct Ports {
    store: Arc<dyn Store>,
    units: Arc<Units>,
    authenticator: Arc<dyn Authenticator>,
    passwords: Option<Arc<PasswordAuthenticator>>,
    hooks: Arc<[Arc<dyn Hooks>]>,
    presence: Arc<PresenceView>,
    advertiser: Option<Arc<NodeAdvertiser>>,
    router: Router,
    node: NodeId,
}

/// Queues from the commands to the workers.
struct Queues {
    appends: Arc<AppendQueue>,
    cursors: Arc<CursorQueue>,
    presence: Arc<PresenceQueue>,
    observers: Arc<ObserverQueue>,
    session_ender: Arc<SessionEnder>,
    readiness: Arc<ReadinessState>,
}

/// Assembles the engine and starts its workers.
fn start(config: EngineConfig, epoch: StoreEpoch, ports: Ports) -> Engine {
    let lifecycle = Lifecycle::new(config.max_concurrent_commands);
    let (observers, observer_worker) = observers(ports.hooks.clone(), config.max_queued_observations);
    let queues = Queues {
        appends: Arc::new(AppendQueue::new(config.max_queued_bytes)),
        cursors: Arc::new(CursorQueue::new(&config)),
        presence: Arc::default(),
        observers: Arc::new(observers),
        session_ender: Arc::new(SessionEnder::new(ports.router.clone())),
        readiness: Arc::new(ReadinessState::new(ports.router.clone(), ports.advertiser.clone())),
    };
    let shared = Shared::new(&config, &ports, &queues);
    start_workers(&lifecycle, &config, &ports, &queues, &shared);
    if let Some(worker) = observer_worker {
        lifecycle.spawn_worker("observers", worker.run(lifecycle.draining().clone()));
    }
    let commands = Arc::new(dispatcher(&lifecycle, &config, &ports, &queues, &shared));
    Engine::new(Parts {
        logins: Arc::new(Logins {
            units: Arc::clone(&ports.units),
            authenticator: Arc::clone(&ports.authenticator),
            passwords: ports.passwords.clone(),
            hooks: Arc::clone(&shared.hooks),
            observers: Arc::clone(&queues.observers),
            session_ender: Arc::clone(&queues.session_ender),
            presence: Arc::clone(&ports.presence),
            options: LoginOptions::from(&config),
        }),
        sessions: Arc::new(Sessions {
            units: Arc::clone(&ports.units),
            router: ports.router.clone(),
            cursors: Arc::clone(&queues.cursors),
            presence: Arc::clone(&queues.presence),
            observers: Arc::clone(&queues.observers),
            lifecycle: lifecycle.clone(),
        }),
        operator: Arc::new(operator_parts(&commands, &lifecycle, &config, &ports, &queues, &shared)),
        commands,
        feeds: Feeds::new(
            Arc::clone(&ports.units),
            ports.router.clone(),
            lifecycle.clone(),
            ports.node,
            config.request_timeout,
        ),
        config,
        epoch,
        readiness: queues.readiness,
        observers: queues.observers,
        units: ports.units,
        router: ports.router,
        lifecycle,
    })
}

fn operator_parts(
    commands: &Arc<Dispatcher>,
    lifecycle: &Lifecycle,
    config: &EngineConfig,
    ports: &Ports,
    queues: &Queues,
    shared: &Shared,
) -> OperatorParts {
    OperatorParts {
        commands: Arc::clone(commands),
        units: Arc::clone(&ports.units),
        directory: Arc::clone(&shared.directory),
        passwords: ports.passwords.clone(),
        session_ender: Arc::clone(&queues.session_ender),
        presence: Arc::clone(&ports.presence),
        publisher: shared.publisher.clone(),
        observers: Arc::clone(&queues.observers),
        lifecycle: lifecycle.clone(),
        default_direct_policy: config.default_direct_policy,
    }
}

/// Parts that both the commands and the workers use.
struct Shared {
    directory: Arc<Directory>,
    limits: Arc<UserLimits>,
    hooks: Arc<HookCalls>,
    publisher: Publisher,
}

impl Shared {
    fn new(config: &EngineConfig, ports: &Ports, queues: &Queues) -> Self {
        let units = || Arc::clone(&ports.units);
        let limits = Arc::new(UserLimits::new(config));
        Self {
            directory: Arc::new(Directory::new(units())),
            hooks: Arc::new(HookCalls::new(
                ports.hooks.clone(),
                units(),
                Arc::clone(&limits),
                config,
            )),
            limits,
            publisher: Publisher::new(ports.router.clone(), Arc::clone(&queues.observers)),
        }
    }
}

fn start_workers(lifecycle: &Lifecycle, config: &EngineConfig, ports: &Ports, queues: &Queues, shared: &Shared) {
    let draining = || lifecycle.draining().clone();
    let units = || Arc::clone(&ports.units);
    let router = || ports.router.clone();
    let directory = || Arc::clone(&shared.directory);
    let append_ports = AppendPorts {
        units: units(),
        directory: directory(),
        opener: DirectOpener::new(
            units(),
            directory(),
            Arc::clone(&shared.limits),
            shared.publisher.clone(),
        ),
        hooks: Arc::clone(&shared.hooks),
        publisher: shared.publisher.clone(),
        rules: BatchRules::from(config),
    };
    let appender = AppendWorker::new(Arc::clone(&queues.appends), append_ports, config);
    lifecycle.spawn_worker("appender", appender.run(draining()));
    let cursors = CursorWorker::new(Arc::clone(&queues.cursors), units(), router(), config);
    lifecycle.spawn_worker("cursors", cursors.run(draining()));
    let presence = PresenceWorker::new(
        Arc::clone(&queues.presence),
        Arc::clone(&ports.presence),
        units(),
        router(),
    );
    lifecycle.spawn_worker("presence", presence.run(draining()));
    let rechecks = SessionRecheckWorker::new(Arc::clone(&queues.session_ender));
    lifecycle.spawn_worker("session recheck", rechecks.run(draining()));
    let readiness = ReadinessWorker::new(Arc::clone(&ports.store), Arc::clone(&queues.readiness));
    lifecycle.spawn_worker("readiness", readiness.run(draining()));
    if let Some(advertiser) = &ports.advertiser {
        let advertise = AdvertiseWorker::new(Arc::clone(advertiser), Arc::clone(&queues.readiness), router());
        lifecycle.spawn_worker("advertise", advertise.run(draining()));
    }
}

fn dispatcher(
    lifecycle: &Lifecycle,
    config: &EngineConfig,
    ports: &Ports,
    queues: &Queues,
    shared: &Shared,
) -> Dispatcher {
    let units = || Arc::clone(&ports.units);
    let directory = || Arc::clone(&shared.directory);
    let limits = || Arc::clone(&shared.limits);
    Dispatcher {
        lifecycle: lifecycle.clone(),
        router: ports.router.clone(),
        account: Arc::new(AccountCommands {
            units: units(),
            directory: directory(),
            passwords: ports.passwords.clone(),
            hooks: Arc::clone(&shared.hooks),
            session_ender: Arc::clone(&queues.session_ender),
            presence: Arc::clone(&ports.presence),
        }),
        contacts: Arc::new(contact_commands(config, ports, shared)),
        groups: Arc::new(group_commands(config, ports, queues, shared)),
        messages: MessageCommands {
            queue: Arc::clone(&queues.appends),
            units: units(),
            limits: limits(),
            lifecycle: lifecycle.clone(),
            hooks: Arc::clone(&shared.hooks),
        },
        presence: Arc::new(PresenceCommands {
            units: units(),
            router: ports.router.clone(),
            queue: Arc::clone(&queues.presence),
            max_typing_members: config.max_typing_members,
        }),
        reading: Arc::new(ReadingCommands {
            units: units(),
            directory: directory(),
            limits: limits(),
            router: ports.router.clone(),
            cursors: Arc::clone(&queues.cursors),
            page: PageLimits::from(config),
            draining: lifecycle.draining().clone(),
        }),
    }
}

fn contact_commands(config: &EngineConfig, ports: &Ports, shared: &Shared) -> ContactCommands {
    ContactCommands {
        units: Arc::clone(&ports.units),
        directory: Arc::clone(&shared.directory),
        limits: Arc::clone(&shared.limits),
        hooks: Arc::clone(&shared.hooks),
        publisher: shared.publisher.clone(),
        router: ports.router.clone(),
        presence: Arc::clone(&ports.presence),
        options: ContactOptions::from(config),
    }
}

fn group_commands(config: &EngineConfig, ports: &Ports, queues: &Queues, shared: &Shared) -> GroupCommands {
    GroupCommands {
        units: Arc::clone(&ports.units),
        directory: Arc::clone(&shared.directory),
        limits: Arc::clone(&shared.limits),
        hooks: Arc::clone(&shared.hooks),
        publisher: shared.publisher.clone(),
        queue: Arc::clone(&queues.appends),
        cursors: Arc::clone(&queues.cursors),
        group_limits: GroupLimits::from(config),
        page: PageLimits::from(config),
        max_list_len: config.max_list_len,
        max_receipt_members: config.max_receipt_members,
    }
}
