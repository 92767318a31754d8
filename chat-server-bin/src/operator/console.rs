//! Store, engine and output of a command of an operator: [`Console`].

use std::sync::Arc;
use std::time::Duration;

use chat_core::engine::Engine;
use chat_core::engine::operator::{Operator, OperatorName};
use chat_core::store::Store;
use serde::Serialize;
use serde_json::Value;

use super::{identity, invalid};
use crate::args::OperatorArgs;
use crate::compose::{build_operator_engine, open_existing_store};
use crate::config::{Checked, StoreUrl};
use crate::failure::Failure;
use crate::output::{Lines, report, to_json};

/// Maximum time to announce the changes of a command to the running nodes on the bus.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(5);

/// The open store and engine of a command of an operator, and the form of its output.
pub(super) struct Console<'a> {
    config: &'a Checked,
    store: Arc<dyn Store>,
    engine: Engine,
    pub(super) operator: Operator,
    /// True if the output is JSON, one object per line.
    is_json: bool,
}

impl<'a> Console<'a> {
    /// Opens the store and builds the engine. The caller has to [`close`](Self::close) them.
    pub(super) async fn open(config: &'a Checked, arguments: &OperatorArgs) -> Result<Self, Failure> {
        let name = arguments.operator.clone().unwrap_or_else(identity::login_name);
        let name = OperatorName::new(name).map_err(invalid)?;
        let store = open_existing_store(config).await?;
        let engine = match build_operator_engine(config, Arc::clone(&store)).await {
            Ok(engine) => engine,
            Err(failure) => {
                store.close().await;
                return Err(failure);
            }
        };
        Ok(Self {
            config,
            operator: engine.operator(name).source(identity::source()),
            store,
            engine,
            is_json: arguments.json,
        })
    }

    /// Announces the committed changes to the running nodes, including the changes of a command
    /// that failed halfway, and closes the engine and the store.
    pub(super) async fn close(self) {
        self.announce().await;
        self.engine.shutdown().await;
        self.store.close().await;
    }

    /// Prints what a command has read: `object` as JSON if `--json` was given, otherwise `text`.
    pub(super) fn print_result(&self, object: &impl Serialize, text: &str) -> Result<(), Failure> {
        let mut lines = Lines::new();
        self.add_row(&mut lines, object, text)?;
        lines.finish()
    }

    /// Adds a row to the output: `object` as JSON if `--json` was given, otherwise `text`.
    pub(super) fn add_row(&self, lines: &mut Lines, object: &impl Serialize, text: &str) -> Result<(), Failure> {
        if self.is_json {
            self.add_json_row(lines, object)
        } else {
            lines.text(text)
        }
    }

    /// Adds a row to the output that is always JSON.
    pub(super) fn add_json_row(&self, lines: &mut Lines, object: &impl Serialize) -> Result<(), Failure> {
        lines.json(&without_presence(object)?)
    }

    /// Prints the result of a change that running nodes need not learn from the bus, because they
    /// read it in the store when they need it.
    pub(super) fn print_change(&self, object: &impl Serialize, text: &str) -> Result<(), Failure> {
        if self.is_json {
            return report(&to_json(&without_presence(object)?)?);
        }
        report(text)
    }

    /// Announces the changes of a command to the running nodes, and prints the result. The text
    /// ends with a remark if the announcement failed. If nodes may be running, the JSON object says
    /// whether it succeeded (`nodes_notified`).
    pub(super) async fn announce_and_print(&self, object: &impl Serialize, text: &str) -> Result<(), Failure> {
        let were_notified = self.announce().await;
        if self.is_json {
            let mut object = without_presence(object)?;
            if let (Some(were_notified), Value::Object(fields)) = (were_notified, &mut object) {
                fields.insert("nodes_notified".to_owned(), Value::Bool(were_notified));
            }
            return report(&to_json(&object)?);
        }
        report(&format!("{text}{}", self.remark(were_notified)))
    }

    /// Announces the committed changes on the bus. Returns `Some(true)` if the bus accepted all
    /// announcements, `Some(false)` if it did not or none is configured, and `None` if no node can
    /// be running.
    async fn announce(&self) -> Option<bool> {
        if !matches!(self.config.store, StoreUrl::Mysql(_)) {
            return None; // this process has locked the embedded store, so no server is using it
        }
        let announced = tokio::time::timeout(ANNOUNCE_TIMEOUT, self.engine.flush_announcements());
        Some(self.has_bus() && announced.await.unwrap_or(false))
    }

    fn has_bus(&self) -> bool {
        !self.config.settings.bus.url.is_empty()
    }

    /// Returns the remark for the result of [`announce`](Self::announce).
    fn remark(&self, were_notified: Option<bool>) -> &'static str {
        match were_notified {
            None | Some(true) => "",
            Some(false) if self.has_bus() => {
                "; the bus is unreachable, so running nodes notice the change within a few minutes"
            }
            Some(false) => "; bus.url is not set, so running nodes notice the change within a few minutes",
        }
    }
}

/// Returns an object as JSON, without the presence of devices (`online`), because only the nodes
/// know it.
fn without_presence(object: &impl Serialize) -> Result<Value, Failure> {
    let value = serde_json::to_value(object);
    let mut value = value.map_err(|error| Failure::Failed(format!("cannot encode JSON: {error}")))?;
    let devices = value.get_mut("devices").and_then(Value::as_array_mut);
    for device in devices.into_iter().flatten() {
        remove_presence(device);
    }
    if value.get("record").is_some_and(|record| record == "device") {
        remove_presence(&mut value);
    }
    Ok(value)
}

fn remove_presence(device: &mut Value) {
    if let Value::Object(fields) = device {
        fields.remove("online");
    }
}
