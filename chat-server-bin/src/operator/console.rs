//! An operator at a terminal: the store, an engine on it, and the form of the output.

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

/// Time that the bus has to take what the running nodes are to be told.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(5);

/// An operator at a terminal.
pub(super) struct Console<'a> {
    config: &'a Checked,
    store: Arc<dyn Store>,
    engine: Engine,
    pub(super) operator: Operator,
    is_json: bool,
}

impl<'a> Console<'a> {
    pub(super) async fn open(config: &'a Checked, arguments: &OperatorArgs) -> Result<Self, Failure> {
        let name = arguments.operator.clone().unwrap_or_else(identity::account_name);
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

    /// Ends the engine. What it has committed is announced before, also if the command failed:
    /// parts of it may have been done.
    pub(super) async fn close(self) {
        self.announce().await;
        self.engine.shutdown().await;
        self.store.close().await;
    }

    /// Prints what a command has found: `object` as JSON, or `text`.
    pub(super) fn found(&self, object: &impl Serialize, text: &str) -> Result<(), Failure> {
        let mut lines = Lines::new();
        self.row(&mut lines, object, text)?;
        lines.finish()
    }

    /// Adds one of several objects to the output.
    pub(super) fn row(&self, lines: &mut Lines, object: &impl Serialize, text: &str) -> Result<(), Failure> {
        if self.is_json {
            self.json_row(lines, object)
        } else {
            lines.text(text)
        }
    }

    /// Adds an object that has no other form than JSON to the output.
    pub(super) fn json_row(&self, lines: &mut Lines, object: &impl Serialize) -> Result<(), Failure> {
        lines.json(&without_presence(object)?)
    }

    /// Tells the running nodes what a command has changed, and prints the result: with a remark if
    /// the nodes could not be told.
    pub(super) async fn changed(&self, object: &impl Serialize, text: &str) -> Result<(), Failure> {
        let notified = self.announce().await;
        if self.is_json {
            let mut object = without_presence(object)?;
            if let (Some(notified), Value::Object(fields)) = (notified, &mut object) {
                fields.insert("nodes_notified".to_owned(), Value::Bool(notified));
            }
            return report(&to_json(&object)?);
        }
        report(&format!("{text}{}", self.remark(notified)))
    }

    /// Returns whether the running nodes were told, or `None` if no node can run now.
    async fn announce(&self) -> Option<bool> {
        if !matches!(self.config.store, StoreUrl::Mysql(_)) {
            return None; // the store is locked, so no server is running on it
        }
        let announced = tokio::time::timeout(ANNOUNCE_TIMEOUT, self.engine.flush_announcements());
        Some(self.has_bus() && announced.await.unwrap_or(false))
    }

    fn has_bus(&self) -> bool {
        !self.config.settings.bus.url.is_empty()
    }

    fn remark(&self, notified: Option<bool>) -> &'static str {
        match notified {
            None | Some(true) => "",
            Some(false) if self.has_bus() => {
                "; the bus is unreachable, so running nodes notice it within a few minutes"
            }
            Some(false) => "; bus.url is not set, so running nodes notice it within a few minutes",
        }
    }
}

/// Returns an object as JSON, without the presence of devices: this program does not know it.
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
