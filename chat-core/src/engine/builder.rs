//! How an application puts an engine together.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::appender::{self, AppendQueue};
use super::breaker::Breaker;
use super::config::EngineConfig;
use super::core::Core;
use super::cursors::{self, CursorQueue};
use super::directory::Directory;
use super::doubts::{self, Doubts};
use super::limits::UserLimits;
use super::observer::{self, Observer};
use super::presence::{self, PresenceQueue};
use super::{Engine, Handle, readiness, register};
use crate::auth::{Authenticator, PasswordAuthenticator, PasswordHashError};
use crate::bus::{BusError, MessageBus};
use crate::clock::{Clock, SystemClock};
use crate::cluster::{ClusterError, Discovery, MemoryPresence, NodeInfo, Presence};
use crate::hooks::Hooks;
use crate::model::NodeId;
use crate::router::{EventLog, Router, RouterConfig, RouterParts, StoreEventLog};
use crate::store::{Store, StoreError};

/// Why an engine could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A field of the configuration is out of range.
    #[error("the configuration's `{field}` has to be {rule}")]
    Config {
        /// Which field.
        field: &'static str,
        /// What it has to be.
        rule: &'static str,
    },
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    /// The bus cannot be reached.
    #[error("the message bus cannot be reached")]
    Bus(#[from] BusError),
    /// The nodes of the cluster cannot be found.
    #[error("the cluster's discovery cannot be reached")]
    Discovery(#[from] ClusterError),
    /// The cost of passwords is out of range, or there are no random bytes.
    #[error("passwords cannot be hashed")]
    Passwords(#[from] PasswordHashError),
    /// It was not called inside a tokio runtime.
    #[error("an engine is built inside a tokio runtime")]
    NoRuntime,
}

/// Collects the parts of an [`Engine`]. All but the store have defaults; the order of calls does not matter.
#[derive(Debug)]
pub struct EngineBuilder {
    store: Arc<dyn Store>,
    event_log: Option<Arc<dyn EventLog>>,
    bus: Option<Arc<dyn MessageBus>>,
    discovery: Option<Arc<dyn Discovery>>,
    presence: Option<Arc<dyn Presence>>,
    authenticator: Option<Arc<dyn Authenticator>>,
    hooks: Option<Arc<dyn Hooks>>,
    clock: Arc<dyn Clock>,
    config: EngineConfig,
    router: RouterConfig,
    node: NodeId,
    addresses: Vec<String>,
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
            hooks: None,
            clock: Arc::new(SystemClock),
            config: EngineConfig::default(),
            router: RouterConfig::default(),
            node: NodeId::random(),
            addresses: Vec::new(),
        }
    }

    /// Connects the engine with others that share the store. Default: nobody is rung; engines that share a store which tells
    /// them of each other ([`Store::beat`]) ask it each second for what the others commit.
    #[must_use]
    pub fn bus(mut self, bus: Arc<dyn MessageBus>) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Makes the node known to others. Default: nobody is told.
    #[must_use]
    pub fn discovery(mut self, discovery: Arc<dyn Discovery>) -> Self {
        self.discovery = Some(discovery);
        self
    }

    /// Where it is kept who is connected. Engines that share a bus share this too. Default: in this engine.
    #[must_use]
    pub fn presence(mut self, presence: Arc<dyn Presence>) -> Self {
        self.presence = Some(presence);
        self
    }

    /// Decides who may log in. Default: passwords, kept in the store.
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// The application's own rules. Default: none.
    #[must_use]
    pub fn hooks(mut self, hooks: Arc<dyn Hooks>) -> Self {
        self.hooks = Some(hooks);
        self
    }

    /// Tells the time of day. Default: the operating system.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Tunables of the engine.
    #[must_use]
    pub fn config(mut self, config: EngineConfig) -> Self {
        self.config = config;
        self
    }

    /// Tunables of deliveries.
    #[must_use]
    pub fn router_config(mut self, config: RouterConfig) -> Self {
        self.router = config;
        self
    }

    /// The node's id. Default: a random one for each engine.
    #[must_use]
    pub fn node(mut self, node: NodeId) -> Self {
        self.node = node;
        self
    }

    /// Where clients reach this node, for the discovery.
    #[must_use]
    pub fn addresses(mut self, addresses: Vec<String>) -> Self {
        self.addresses = addresses;
        self
    }

    /// Sets the log from which deliveries are read. It has to show everything that the store commits.
    /// Default: the store.
    #[cfg(feature = "unstable")]
    #[must_use]
    pub fn event_log(mut self, event_log: Arc<dyn EventLog>) -> Self {
        self.event_log = Some(event_log);
        self
    }

    /// Checks the parts and starts the engine's tasks on the current tokio runtime.
    ///
    /// # Errors
    /// [`BuildError`]; nothing runs.
    pub async fn build(self) -> Result<Engine, BuildError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(BuildError::NoRuntime);
        }
        let config = self.config;
        config
            .validate()
            .map_err(|(field, rule)| BuildError::Config { field, rule })?;
        let authenticator = match self.authenticator {
            Some(authenticator) => authenticator,
            None => Arc::new(PasswordAuthenticator::new(
                Arc::clone(&self.store),
                config.passwords.clone(),
                config.throttle.clone(),
            )?),
        };
        let epoch = self.store.epoch().await?;
        let presence = self.presence.unwrap_or_else(|| Arc::new(MemoryPresence::new()));
        let started = self.clock.now();
        let incarnation = u64::try_from(started.0).unwrap_or(0);
        let event_log = match self.event_log {
            Some(event_log) => event_log,
            None => Arc::new(StoreEventLog::new(Arc::clone(&self.store))),
        };
        let router = Router::start(RouterParts {
            log: event_log,
            bus: self.bus,
            presence: Arc::clone(&presence),
            clock: Arc::clone(&self.clock),
            node: self.node,
            incarnation,
            epoch,
            config: self.router,
        })
        .await?;
        let (observer, observations) = match &self.hooks {
            Some(_) => {
                let (observer, observations) = Observer::new(config.max_queued_observations);
                (observer, Some(observations))
            }
            None => (Observer::nobody(), None),
        };
        let core = Arc::new(Core {
            store: self.store,
            presence,
            authenticator,
            hooks: self.hooks.clone(),
            clock: self.clock,
            router,
            epoch,
            reads: Breaker::new(config.breaker_threshold, config.breaker_probe_interval),
            writes: Breaker::new(config.breaker_threshold, config.breaker_probe_interval),
            limits: UserLimits::new(&config),
            directory: Directory::default(),
            appends: AppendQueue::new(config.max_queued_bytes),
            doubts: Doubts::default(),
            cursors: CursorQueue::new(
                config.max_cursor_batch,
                config.max_queued_cursors,
                config.max_queued_cursors_per_user,
            ),
            presences: PresenceQueue::new(self.node),
            readiness: readiness::State::default(),
            observer,
            places: Arc::new(Semaphore::new(config.max_concurrent_commands)),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            stop: CancellationToken::new(),
            config,
        });
        let registration = match self.discovery {
            Some(discovery) => {
                let me = NodeInfo {
                    id: self.node,
                    incarnation,
                    addresses: self.addresses,
                    sessions: 0,
                    draining: false,
                };
                match register::Registration::begin(discovery, me).await {
                    Ok(registration) => {
                        core.router.watch_nodes(registration.watch());
                        Some(registration)
                    }
                    Err(error) => {
                        core.router.shutdown().await;
                        return Err(error.into());
                    }
                }
            }
            None => None,
        };
        let handle = Handle::new(Arc::clone(&core), registration);
        spawn(&core, appender::run(Arc::clone(&core)));
        spawn(&core, doubts::run(Arc::clone(&core)));
        spawn(&core, cursors::run(Arc::clone(&core)));
        spawn(&core, presence::run(Arc::clone(&core)));
        if let (Some(hooks), Some(observations)) = (self.hooks, observations) {
            spawn(&core, observer::run(hooks, observations, core.draining.clone()));
        }
        spawn(&core, readiness::run(Arc::clone(&core), handle.registration()));
        if let Some(registration) = handle.registration() {
            spawn(&core, register::run(Arc::clone(&core), registration));
        }
        Ok(Engine::of(handle))
    }
}

/// Starts a task that ends, where it stands, when the engine stops.
fn spawn(core: &Core, task: impl Future<Output = ()> + Send + 'static) {
    core.tasks.spawn(core.stop.clone().run_until_cancelled_owned(task));
}
