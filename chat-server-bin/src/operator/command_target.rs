//! [`CommandTarget`]: the engine on which the commands of operators run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::engine::Engine;
use chat_core::engine::operator::{Operator, OperatorName};
use chat_core::server::Server;
use serde::Serialize;

use super::printer::Printer;
use crate::config::{CheckedConfig, StoreUrl};
use crate::failure::Failure;

/// Maximum time to announce the changes of a command to the running nodes on the bus.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(5);

/// Engine on which the commands of operators run: that of a running server, or that of the process
/// that executes one command.
#[derive(Clone, Debug)]
pub(crate) struct CommandTarget {
    engine: Engine,
    announcements: Announcements,
    /// Kind of the store: `sqlite` or `mysql`, as `stats` prints it.
    pub(super) store_kind: &'static str,
    /// Location of the store, without credentials; see [`StoreUrl::location_in`].
    store_location: String,
    pub(super) data_dir: String,
    /// The server of this process; `None` if none runs.
    pub(super) node: Option<Arc<RunningNode>>,
}

/// Server that runs in this process.
#[derive(Debug)]
pub(crate) struct RunningNode {
    pub(crate) server: Arc<Server>,
    pub(crate) fingerprint: String,
    pub(crate) started: Instant,
}

/// Means by which other processes learn of a change.
#[derive(Clone, Copy, Debug)]
enum Announcements {
    /// No other process uses the embedded store.
    NotNeeded,
    /// No bus is configured.
    NoBus,
    Bus,
}

/// The target of a command, and the operator who runs the command.
pub(super) struct CommandContext<'a> {
    pub(super) target: &'a CommandTarget,
    pub(super) operator: Operator,
}

impl CommandTarget {
    pub(crate) fn new(config: &CheckedConfig, engine: Engine, node: Option<Arc<RunningNode>>) -> Self {
        let (announcements, store_kind) = match &config.store {
            StoreUrl::Sqlite(_) => (Announcements::NotNeeded, "sqlite"),
            StoreUrl::Mysql(_) if config.settings.bus.url.is_empty() => (Announcements::NoBus, "mysql"),
            StoreUrl::Mysql(_) => (Announcements::Bus, "mysql"),
        };
        Self {
            engine,
            announcements,
            store_kind,
            store_location: config.store.location_in(&config.settings.server.data_dir),
            data_dir: config.settings.server.data_dir.display().to_string(),
            node,
        }
    }

    /// Fails if `configured`, the store of an operator's command, is another one than the store of
    /// this server.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(crate) fn check_store(&self, configured: Option<&str>) -> Result<(), String> {
        match configured {
            Some(configured) if configured != self.store_location => Err(format!(
                "this command is configured for the store {configured}, but the server that runs on the data directory \
                 {} uses {}; give the data directory of the server with that store (--data-dir), or leave out store.url",
                self.data_dir, self.store_location
            )),
            _ => Ok(()),
        }
    }

    pub(super) const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns this target with an operator for the audit log.
    pub(super) fn command_context(&self, name: OperatorName, source: &str) -> CommandContext<'_> {
        CommandContext {
            target: self,
            operator: self.engine.operator(name).source(source),
        }
    }

    /// Announces the committed changes on the bus. Returns `Some(true)` if the bus accepted all
    /// announcements, `Some(false)` if it did not within [`ANNOUNCE_TIMEOUT`] or no bus is
    /// configured, and `None` if no other node can be running.
    pub(super) async fn announce(&self) -> Option<bool> {
        match self.announcements {
            Announcements::NotNeeded => None,
            Announcements::NoBus => Some(false),
            Announcements::Bus => {
                let announced = tokio::time::timeout(ANNOUNCE_TIMEOUT, self.engine.flush_announcements());
                Some(announced.await.unwrap_or(false))
            }
        }
    }

    /// Returns the remark for the result of [`announce`](Self::announce).
    const fn remark(&self, were_notified: Option<bool>) -> &'static str {
        match (were_notified, self.announcements) {
            (None | Some(true), _) => "",
            (Some(false), Announcements::Bus) => {
                "; the bus is unreachable, so running nodes notice the change within a minute"
            }
            (Some(false), _) => "; bus.url is not set, so running nodes notice the change within a minute",
        }
    }
}

impl CommandContext<'_> {
    /// Announces the changes of a command to the other nodes, and prints the result: `object` as
    /// JSON, or `text`. If other nodes may be running, the JSON object says whether the
    /// announcement succeeded (`nodes_notified`), and if it did not, the text ends with a remark.
    pub(super) async fn announce_and_print(
        &self,
        printer: &mut Printer,
        object: &impl Serialize,
        text: &str,
    ) -> Result<(), Failure> {
        let were_notified = self.target.announce().await;
        let text = format!("{text}{}", self.target.remark(were_notified));
        printer.result(object, &text, were_notified).await
    }
}
