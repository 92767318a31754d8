//! What the application asks for.

use tokio::sync::oneshot;

use crate::client::ClientError;
use crate::model::{Command, Outcome};

use super::{BATCH, Driver, Input, Queued, now, outgoing};

impl Driver {
    pub(super) fn take_acks(&mut self) {
        for (conversation, seq) in self.shared.take_acks() {
            self.machine.acknowledge(now(), conversation, seq);
        }
    }

    /// Takes in what the application asks for; messages become durable before they are sent or reported as queued.
    pub(super) async fn take_inputs(&mut self, first: Input) {
        let mut queued = Vec::new();
        let mut next = Some(first);
        for _ in 0..BATCH {
            let Some(input) = next.take().or_else(|| self.inputs.try_recv().ok()) else {
                break;
            };
            match input {
                Input::Execute { command, reply } => self.execute(command, reply),
                Input::Queue(wanted) => queued.push(wanted),
                Input::SaveNames(names) => {
                    // They can be asked for again.
                    if let Err(error) = self.store.save_names(&names).await {
                        tracing::warn!(%error, "the names were not kept");
                    }
                }
                Input::Close => self.close(),
            }
        }
        if !queued.is_empty() {
            self.queue(queued).await;
        }
    }

    fn execute(&mut self, command: Command, reply: oneshot::Sender<Result<Outcome, ClientError>>) {
        self.waits.last_token += 1;
        self.waits.commands.insert(self.waits.last_token, reply);
        self.machine.execute(now(), self.waits.last_token, command);
    }

    async fn queue(&mut self, mut wanted: Vec<Queued>) {
        let room = self.options.outbox.saturating_sub(self.machine.unsettled());
        for Queued { told, .. } in wanted.drain(room.min(wanted.len())..) {
            let _ = told.send(Err(ClientError::OutboxFull(self.options.outbox))); // nobody waits any more
        }
        let entries: Vec<_> = wanted.iter().map(|queued| queued.entry.clone()).collect();
        match self.store.queue(&entries).await {
            Ok(()) => {
                for Queued { entry, told, outcome } in wanted {
                    self.waits.sends.insert(entry.id, outcome);
                    self.machine.send(now(), outgoing(entry));
                    let _ = told.send(Ok(())); // nobody waits any more
                }
                self.shared.unsettled.send_replace(self.machine.unsettled());
            }
            Err(error) => {
                let error = ClientError::from(error);
                for Queued { told, .. } in wanted {
                    let _ = told.send(Err(error.clone())); // nobody waits any more
                }
            }
        }
    }

    fn close(&mut self) {
        self.take_acks();
        self.machine.flush_acknowledgements(now());
        self.course.closing = true;
    }
}
