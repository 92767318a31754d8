//! Runs the actions that the [`Machine`](crate::client::machine::Machine) asks for.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::client::{ClientError, ClientEvent, Scheme, SendOutcome, Status, connection::Writer, machine::Action};
use crate::codec::LoggedIn;
use crate::model::{ClientMessageId, ConversationRef, StoreEpoch, UserId};

use crate::time::now;

use super::{Driver, Next};

impl Driver {
    /// Runs all actions of the machine. Returns the next step if the driver must leave the
    /// connection. `connection` is the writer of the connection and the address of its server;
    /// `None` without a connection; the machine then sends no requests.
    pub(super) async fn act(&mut self, mut connection: Option<(&mut Writer, &str)>) -> Option<Next> {
        let mut settled = Vec::new();
        let (mut next, mut end, mut groups_changed) = (None, None, false);
        while let Some(action) = self.machine.next_action() {
            match action {
                Action::Send(request) => {
                    if let Some((writer, _)) = &mut connection {
                        writer.put(&request);
                    }
                }
                Action::LoggedIn(logged_in) => {
                    let address = connection.as_ref().map_or("", |(_, address)| address);
                    self.logged_in(*logged_in, address).await;
                }
                Action::Listed => groups_changed |= self.shared.forget_saved_groups(),
                Action::Online => {
                    let address = connection.as_ref().map_or("", |(_, address)| address);
                    self.shared.status.send_replace(Status::Online(address.to_owned()));
                }
                Action::TokensChanged(tokens) => {
                    self.account.tokens_are_from_plain = self.scheme == Scheme::Plain;
                    self.account.session_token = Some(tokens.session_token);
                    self.account.device_token = Some(tokens.device_token);
                    self.save_account().await;
                }
                Action::ForgetSession => {
                    self.account.session_token = None;
                    self.save_account().await;
                }
                Action::StoreReplaced(epoch) => self.store_replaced(epoch).await,
                Action::SaveCursors(cursors) => {
                    self.cursors.extend(cursors);
                    self.save_cursors().await;
                }
                Action::Conversation(info) => groups_changed |= self.shared.learn_conversation(info),
                Action::Settle {
                    id,
                    conversation,
                    outcome,
                } => {
                    settled.push(id);
                    self.report_outcome(id, conversation, outcome);
                }
                Action::Finish { command_id, result } => {
                    if let Some(waiting) = self.replies.commands.remove(&command_id) {
                        let _ = waiting.send(result); // the caller may have stopped waiting
                    }
                }
                Action::Reconnect { reason, after } => next = Some(Next::Retry { reason, after }),
                Action::End(reason) => {
                    self.reject_queued_before_login(&reason);
                    end = Some(reason);
                    next = Some(Next::End);
                }
            }
        }
        self.remove_settled(&settled).await;
        if let Some(reason) = end {
            self.shared.status.send_replace(Status::Ended(reason));
        }
        if groups_changed {
            self.save_groups().await;
        }
        next
    }

    /// Rejects the messages that were queued before the first login of this run, if that login was
    /// that of another user than the one to whom the outbox belongs. They were written for the user
    /// who logged in.
    fn reject_queued_before_login(&mut self, reason: &ClientError) {
        if matches!(reason, ClientError::OtherUser { .. }) {
            for id in std::mem::take(&mut self.progress.queued_before_login) {
                self.machine.reject(&id, reason.clone());
            }
        }
    }

    /// Deletes the cursors, conversations and names, because their ids belong to the store epoch
    /// that `epoch` replaces. The account is saved with [`Action::LoggedIn`], which follows.
    async fn store_replaced(&mut self, epoch: StoreEpoch) {
        self.cursors.clear();
        self.shared.store_replaced(epoch);
        self.save_cursors().await;
        self.save_names(&BTreeMap::new()).await;
        self.account.store_epoch = Some(epoch);
    }

    /// Reports the outcome of a message to the callers that wait for it, or as an event if no
    /// caller waits.
    fn report_outcome(&mut self, id: ClientMessageId, conversation: ConversationRef, outcome: SendOutcome) {
        let callers = self.replies.sends.remove(&id).unwrap_or_default();
        let answer = |caller: oneshot::Sender<_>| caller.send(outcome.clone()).is_ok();
        let answered = callers.into_iter().map(answer).filter(|answered| *answered).count();
        if answered == 0 {
            self.machine.add_event(ClientEvent::Settled {
                id,
                conversation,
                outcome,
            });
        }
    }

    /// Removes messages that have their outcome from the stored outbox, and updates the number of
    /// messages without one.
    async fn remove_settled(&mut self, settled: &[ClientMessageId]) {
        if settled.is_empty() {
            return;
        }
        // If this write is lost, the next run sends the message again under the same id, and the
        // server does not store it twice.
        if let Err(error) = self.store.settle(settled).await {
            tracing::warn!(%error, "the outcomes of messages could not be saved; after a restart, the messages are sent again under the same ids");
        }
        self.shared.unsettled.send_replace(self.machine.unsettled());
    }

    /// Saves the result of a login, and adds [`ClientEvent::Connected`]. The status changes later,
    /// with [`Action::Online`].
    async fn logged_in(&mut self, logged_in: LoggedIn, server: &str) {
        self.progress.had_session = true;
        self.progress.queued_before_login.clear();
        self.progress.backoff.connected(now());
        self.shared.set_me(logged_in.user.clone());
        self.account.user = Some(logged_in.user);
        self.account.store_epoch = Some(logged_in.store_epoch);
        self.shared.set_store_epoch(logged_in.store_epoch);
        if logged_in.session_token.is_some() || logged_in.device_token.is_some() {
            self.account.tokens_are_from_plain = self.scheme == Scheme::Plain;
        }
        if logged_in.session_token.is_some() {
            self.account.session_token = logged_in.session_token;
        }
        if logged_in.device_token.is_some() {
            self.account.device_token = logged_in.device_token;
        }
        self.save_account().await;
        self.machine.add_event(ClientEvent::Connected {
            server: server.to_owned(),
        });
    }

    /// Saves the account. A failure does not end the session.
    async fn save_account(&self) {
        if let Err(error) = self.store.save_account(&self.account).await {
            tracing::error!(%error, "the account and its tokens could not be saved; the next run may need the password");
        }
    }

    /// Saves the names of users. Lost names can be requested again.
    pub(super) async fn save_names(&self, names: &BTreeMap<UserId, String>) {
        if let Err(error) = self.store.save_names(names).await {
            tracing::warn!(%error, "the names of users could not be saved; the next run asks the server for them");
        }
    }

    async fn save_groups(&self) {
        if let Err(error) = self.store.save_groups(&self.shared.groups()).await {
            tracing::warn!(%error, "the groups could not be saved; the next run addresses them by name until its login");
        }
    }

    async fn save_cursors(&self) {
        if let Err(error) = self.store.save_cursors(&self.cursors).await {
            tracing::error!(%error, "the cursors could not be saved; events may be delivered again after a restart");
        }
    }
}
