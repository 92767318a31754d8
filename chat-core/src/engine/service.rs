//! Implementation of [`ChatService`] for [`Engine`], for use by servers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Engine;
use crate::cluster::Nodes;
use crate::model::{Caller, Command, Login, LoginGrant, Registration, Resume, Source, StoreEpoch, Timestamp, UserInfo};
use crate::router::Outbox;
use crate::service::{AttachedSession, ChatService, CommandError, CommandFuture, Readiness};

/// Each method forwards to the engine's inherent method of the same name. The inherent methods that
/// embedders call are public, so that embedders need not import the trait.
#[async_trait]
impl ChatService for Engine {
    async fn register(&self, source: Source, registration: Registration) -> Result<UserInfo, CommandError> {
        self.register(source, registration).await
    }

    async fn login(&self, source: Source, login: Login) -> Result<LoginGrant, CommandError> {
        self.login(source, login).await
    }

    async fn resume(&self, source: Source, resume: Resume) -> Result<LoginGrant, CommandError> {
        self.resume(source, resume).await
    }

    async fn attach(
        &self,
        caller: Caller,
        source: Source,
        outbox: Arc<Outbox>,
    ) -> Result<AttachedSession, CommandError> {
        self.attach(caller, source, outbox).await
    }

    fn execute(&self, caller: Caller, command: Command) -> CommandFuture {
        self.execute(caller, command)
    }

    fn pace(&self, caller: Caller, command: &Command) -> Duration {
        self.pace(caller, command)
    }

    fn readiness(&self) -> Readiness {
        self.readiness()
    }

    fn listener_closed(&self) {
        self.listener_closed();
    }

    fn listener_opened(&self) {
        self.listener_opened();
    }

    fn nodes(&self) -> Nodes {
        self.nodes()
    }

    fn advertise(&self, addresses: Vec<String>) {
        self.advertise(addresses);
    }

    fn announce_drain(&self) {
        self.announce_drain();
    }

    fn store_epoch(&self) -> StoreEpoch {
        self.store_epoch()
    }

    fn now(&self) -> Timestamp {
        self.now()
    }
}

impl From<Engine> for Arc<dyn ChatService> {
    fn from(engine: Engine) -> Self {
        Arc::new(engine)
    }
}
