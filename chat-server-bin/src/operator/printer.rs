//! Output of the commands of operators: [`Printer`].

use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::admin_socket::Reply;
use crate::failure::Failure;
use crate::output::{Lines, report, to_json};

/// Printer of the output of one command, as text or as JSON, one object per line.
pub(crate) struct Printer {
    sink: Sink,
    is_json: bool,
    /// False if the process that executes the command does not know which devices are online.
    knows_presence: bool,
}

enum Sink {
    Stdout(Lines),
    /// Replies to the program that asked a running server.
    Peer(mpsc::Sender<Reply>),
}

impl Printer {
    /// Returns a printer to standard output, for a command that this process executes itself.
    pub(super) fn to_stdout(is_json: bool) -> Self {
        Self {
            sink: Sink::Stdout(Lines::new()),
            is_json,
            knows_presence: false,
        }
    }

    /// Returns a printer to the program that asked this server.
    pub(crate) const fn to_peer(peer: mpsc::Sender<Reply>, is_json: bool) -> Self {
        Self {
            sink: Sink::Peer(peer),
            is_json,
            knows_presence: true,
        }
    }

    /// Prints a row of what a command has read: `object` as JSON if `--json` was given, otherwise
    /// `text`.
    pub(super) async fn row(&mut self, object: &impl Serialize, text: &str) -> Result<(), Failure> {
        let line = if self.is_json {
            self.json(object)?
        } else {
            text.to_owned()
        };
        self.line(line).await
    }

    /// Prints a row that is always JSON.
    pub(super) async fn json_row(&mut self, object: &impl Serialize) -> Result<(), Failure> {
        let line = self.json(object)?;
        self.line(line).await
    }

    async fn line(&mut self, line: String) -> Result<(), Failure> {
        match &mut self.sink {
            Sink::Stdout(lines) => lines.text(&line),
            Sink::Peer(peer) => peer.send(Reply::Row(line)).await.map_err(|_| Failure::ReaderGone),
        }
    }

    /// Prints the result of a change: `object` as JSON if `--json` was given, otherwise `text`. The
    /// JSON object gets the field `nodes_notified` unless it is `None`.
    pub(super) async fn result(
        &mut self,
        object: &impl Serialize,
        text: &str,
        nodes_notified: Option<bool>,
    ) -> Result<(), Failure> {
        let result = if self.is_json {
            let mut object = self.value(object)?;
            if let (Some(notified), Value::Object(fields)) = (nodes_notified, &mut object) {
                fields.insert("nodes_notified".to_owned(), Value::Bool(notified));
            }
            to_json(&object)?
        } else {
            text.to_owned()
        };
        match &mut self.sink {
            Sink::Stdout(_) => report(&result),
            Sink::Peer(peer) => peer.send(Reply::Result(result)).await.map_err(|_| Failure::ReaderGone),
        }
    }

    /// Writes what is buffered.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self.sink {
            Sink::Stdout(lines) => lines.finish(),
            Sink::Peer(_) => Ok(()),
        }
    }

    fn json(&self, object: &impl Serialize) -> Result<String, Failure> {
        to_json(&self.value(object)?)
    }

    /// Returns an object as JSON, without the presence of devices (`online`) if it is not known.
    fn value(&self, object: &impl Serialize) -> Result<Value, Failure> {
        let value = serde_json::to_value(object);
        let mut value = value.map_err(|error| Failure::Failed(format!("cannot encode JSON: {error}")))?;
        if !self.knows_presence {
            remove_presence(&mut value);
        }
        Ok(value)
    }
}

fn remove_presence(value: &mut Value) {
    let remove = |device: &mut Value| {
        if let Value::Object(fields) = device {
            fields.remove("online");
        }
    };
    let devices = value.get_mut("devices").and_then(Value::as_array_mut);
    devices.into_iter().flatten().for_each(remove);
    if value.get("record").is_some_and(|record| record == "device") {
        remove(value);
    }
}
