//! Assembly of an engine: its queues, commands and workers, each with the parts that it uses.

use std::sync::Arc;

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
use super::operations::message::MessageLimits;
use super::operator::OperatorParts;
use super::queries::Queries;
use super::query_lanes::QueryLanes;
use super::store_access::StoreAccess;
use super::workers::{
    AdvertiseWorker, AppendPorts, AppendQueue, AppendWorker, DirectOpener, MarkQueue, MarkWorker, NodeAdvertiser,
    ObserverQueue, PresenceQueue, PresenceView, PresenceWorker, Publisher, ReadinessState, ReadinessWorker,
    SessionEnder, SessionRecheckWorker, observers,
};
use super::{Engine, Parts};
use crate::auth::{Authenticator, PasswordAuthenticator, TokenThrottle};
use crate::hooks::Hooks;
use crate::model::{NodeId, StoreEpoch};
use crate::router::Router;
use crate::store::Store;

/// The ports, and the parts that the builder has made from them and the configuration.
pub(super) struct AssemblyParts {
    pub(super) store: Arc<dyn Store>,
    pub(super) access: Arc<StoreAccess>,
    pub(super) authenticator: Arc<dyn Authenticator>,
    pub(super) passwords: Option<Arc<PasswordAuthenticator>>,
    pub(super) hooks: Arc<[Arc<dyn Hooks>]>,
    pub(super) presence: Arc<PresenceView>,
    pub(super) advertiser: Option<Arc<NodeAdvertiser>>,
    pub(super) router: Router,
    pub(super) node: NodeId,
}

/// Queues by which commands and sessions give work to the workers, and the state of the node's
/// readiness.
struct Queues {
    appends: Arc<AppendQueue>,
    marks: Arc<MarkQueue>,
    presence: Arc<PresenceQueue>,
    observers: Arc<ObserverQueue>,
    session_ender: Arc<SessionEnder>,
    readiness: Arc<ReadinessState>,
}

/// Assembles the engine and starts its workers.
pub(super) fn start(config: EngineConfig, epoch: StoreEpoch, parts: AssemblyParts) -> Engine {
    let lifecycle = Lifecycle::new(config.max_concurrent_commands);
    let (observers, observer_worker) = observers(parts.hooks.clone(), config.max_queued_observations);
    let queues = Queues {
        appends: Arc::new(AppendQueue::new(config.max_queued_bytes)),
        marks: Arc::new(MarkQueue::new(&config)),
        presence: Arc::default(),
        observers: Arc::new(observers),
        session_ender: Arc::new(SessionEnder::new(Arc::new(parts.router.clone()))),
        readiness: Arc::new(ReadinessState::new(
            Arc::new(parts.router.clone()),
            parts.advertiser.clone(),
        )),
    };
    let shared = Shared::new(&config, &parts, &queues);
    start_workers(&lifecycle, &config, &parts, &queues, &shared);
    if let Some(worker) = observer_worker {
        lifecycle.spawn_worker("observers", worker.run(lifecycle.draining().clone()));
    }
    let commands = Arc::new(dispatcher(&lifecycle, &config, &parts, &queues, &shared));
    Engine::new(Parts {
        logins: Arc::new(Logins {
            limits: Arc::clone(&shared.limits),
            access: Arc::clone(&parts.access),
            authenticator: Arc::clone(&parts.authenticator),
            passwords: parts.passwords.clone(),
            hooks: Arc::clone(&shared.hooks),
            observers: Arc::clone(&queues.observers),
            session_ender: Arc::clone(&queues.session_ender),
            presence: Arc::clone(&parts.presence),
            session_token_throttle: TokenThrottle::new(&config.throttle),
            options: LoginOptions::from(&config),
        }),
        sessions: Arc::new(Sessions {
            access: Arc::clone(&parts.access),
            router: parts.router.clone(),
            marks: Arc::clone(&queues.marks),
            presence: Arc::clone(&queues.presence),
            observers: Arc::clone(&queues.observers),
            lifecycle: lifecycle.clone(),
            limits: Arc::clone(&shared.limits),
            max_list_length: config.max_list_length,
        }),
        operator: Arc::new(operator_parts(&commands, &lifecycle, &config, &parts, &queues, &shared)),
        commands,
        feeds: Feeds::new(
            Arc::clone(&parts.access),
            parts.router.clone(),
            lifecycle.clone(),
            parts.node,
            config.request_timeout,
        ),
        config,
        epoch,
        readiness: queues.readiness,
        observers: queues.observers,
        access: parts.access,
        router: parts.router,
        lifecycle,
    })
}

fn operator_parts(
    commands: &Arc<Dispatcher>,
    lifecycle: &Lifecycle,
    config: &EngineConfig,
    parts: &AssemblyParts,
    queues: &Queues,
    shared: &Shared,
) -> OperatorParts {
    OperatorParts {
        commands: Arc::clone(commands),
        access: Arc::clone(&parts.access),
        directory: Arc::clone(&shared.directory),
        passwords: parts.passwords.clone(),
        session_ender: Arc::clone(&queues.session_ender),
        presence: Arc::clone(&parts.presence),
        router: parts.router.clone(),
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
    fn new(config: &EngineConfig, parts: &AssemblyParts, queues: &Queues) -> Self {
        let access = || Arc::clone(&parts.access);
        let limits = Arc::new(UserLimits::new(config));
        Self {
            directory: Arc::new(Directory::new(access())),
            hooks: Arc::new(HookCalls::new(
                parts.hooks.clone(),
                access(),
                Arc::clone(&limits),
                config,
            )),
            limits,
            publisher: Publisher::new(parts.router.clone(), Arc::clone(&queues.observers)),
        }
    }
}

fn start_workers(
    lifecycle: &Lifecycle,
    config: &EngineConfig,
    parts: &AssemblyParts,
    queues: &Queues,
    shared: &Shared,
) {
    let draining = || lifecycle.draining().clone();
    let access = || Arc::clone(&parts.access);
    let router = || Arc::new(parts.router.clone());
    let directory = || Arc::clone(&shared.directory);
    let append_ports = AppendPorts {
        access: access(),
        directory: directory(),
        opener: DirectOpener::new(
            access(),
            directory(),
            Arc::clone(&shared.limits),
            shared.publisher.clone(),
        ),
        hooks: Arc::clone(&shared.hooks),
        publisher: shared.publisher.clone(),
        limits: MessageLimits::from(config),
    };
    let appender = AppendWorker::new(Arc::clone(&queues.appends), append_ports, config);
    lifecycle.spawn_worker("appender", appender.run(draining()));
    let marks = MarkWorker::new(Arc::clone(&queues.marks), access(), router(), config);
    lifecycle.spawn_worker("marks", marks.run(draining()));
    let presence = PresenceWorker::new(
        Arc::clone(&queues.presence),
        Arc::clone(&parts.presence),
        access(),
        router(),
    );
    lifecycle.spawn_worker("presence", presence.run(draining()));
    let rechecks = SessionRecheckWorker::new(Arc::clone(&queues.session_ender));
    lifecycle.spawn_worker("session recheck", rechecks.run(draining()));
    let readiness = ReadinessWorker::new(Arc::clone(&parts.store), Arc::clone(&queues.readiness));
    lifecycle.spawn_worker("readiness", readiness.run(draining()));
    if let Some(advertiser) = &parts.advertiser {
        let advertise = AdvertiseWorker::new(Arc::clone(advertiser), Arc::clone(&queues.readiness), router());
        lifecycle.spawn_worker("advertise", advertise.run(draining()));
    }
}

fn dispatcher(
    lifecycle: &Lifecycle,
    config: &EngineConfig,
    parts: &AssemblyParts,
    queues: &Queues,
    shared: &Shared,
) -> Dispatcher {
    let access = || Arc::clone(&parts.access);
    let directory = || Arc::clone(&shared.directory);
    let limits = || Arc::clone(&shared.limits);
    Dispatcher {
        lifecycle: lifecycle.clone(),
        queries: Arc::new(Queries {
            access: access(),
            router: parts.router.clone(),
            lifecycle: lifecycle.clone(),
            lanes: QueryLanes::new(limits()),
        }),
        limits: limits(),
        account: Arc::new(AccountCommands {
            access: access(),
            directory: directory(),
            limits: limits(),
            passwords: parts.passwords.clone(),
            hooks: Arc::clone(&shared.hooks),
            session_ender: Arc::clone(&queues.session_ender),
            presence: Arc::clone(&parts.presence),
        }),
        contacts: Arc::new(contact_commands(config, parts, shared)),
        groups: Arc::new(group_commands(config, parts, queues, shared)),
        messages: MessageCommands {
            queue: Arc::clone(&queues.appends),
            access: access(),
            limits: limits(),
            lifecycle: lifecycle.clone(),
            hooks: Arc::clone(&shared.hooks),
        },
        presence: Arc::new(PresenceCommands {
            access: access(),
            router: parts.router.clone(),
            queue: Arc::clone(&queues.presence),
            limits: limits(),
            max_typing_members: config.max_typing_members,
        }),
        reading: Arc::new(ReadingCommands {
            access: access(),
            directory: directory(),
            limits: limits(),
            router: parts.router.clone(),
            marks: Arc::clone(&queues.marks),
            page_limits: PageLimits::from(config),
            draining: lifecycle.draining().clone(),
        }),
    }
}

fn contact_commands(config: &EngineConfig, parts: &AssemblyParts, shared: &Shared) -> ContactCommands {
    ContactCommands {
        access: Arc::clone(&parts.access),
        directory: Arc::clone(&shared.directory),
        limits: Arc::clone(&shared.limits),
        hooks: Arc::clone(&shared.hooks),
        publisher: shared.publisher.clone(),
        router: parts.router.clone(),
        presence: Arc::clone(&parts.presence),
        options: ContactOptions::from(config),
    }
}

fn group_commands(config: &EngineConfig, parts: &AssemblyParts, queues: &Queues, shared: &Shared) -> GroupCommands {
    GroupCommands {
        access: Arc::clone(&parts.access),
        directory: Arc::clone(&shared.directory),
        limits: Arc::clone(&shared.limits),
        hooks: Arc::clone(&shared.hooks),
        publisher: shared.publisher.clone(),
        queue: Arc::clone(&queues.appends),
        group_limits: GroupLimits::from(config),
        max_list_length: config.max_list_length,
        max_receipt_members: config.max_receipt_members,
    }
}
