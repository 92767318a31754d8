//! Handles the messages that arrive on the bus: announcements, heartbeats and notices of other
//! nodes, and the node's own heartbeats.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::bus::{BusMessage, Subscriber};
use crate::model::{CloseCode, ConversationId, UserId};
use crate::panics;
use crate::router::envelope::{Content, EnvelopeCodec, ReceivedEnvelope};
use crate::router::local_delivery::LocalDelivery;
use crate::router::peer_monitor::PeerMonitor;
use crate::router::registry::Registry;
use crate::router::shared_push::SharedPush;
use crate::router::sweep_request::SweepRequest;
use crate::router::work_set::WorkSet;

/// Worker that reads and handles the messages that the bus delivers to this node.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) subscriber: Box<dyn Subscriber>,
    pub(crate) codec: EnvelopeCodec,
    pub(crate) monitor: Arc<PeerMonitor>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) delivery: Arc<LocalDelivery>,
    pub(crate) joins: WorkSet<(UserId, ConversationId)>,
    pub(crate) logins: WorkSet<(UserId, CloseCode)>,
    pub(crate) sweep: SweepRequest,
    /// Pause after a panic, so that a subscriber that always panics does not cause a busy loop.
    pub(crate) retry_interval: Duration,
}

impl Inbound {
    /// Runs until the bus is closed. A message whose handling panics counts as a gap.
    pub(crate) async fn run(mut self) {
        loop {
            match panics::step("inbound", self.next()).await {
                Some(true) => {}
                Some(false) => return,
                None => {
                    self.sweep.request();
                    sleep(self.retry_interval).await;
                }
            }
        }
    }

    /// Handles the next message. Returns `false` once the bus is closed.
    async fn next(&mut self) -> bool {
        match self.subscriber.next().await {
            Some(BusMessage::Envelope(_, bytes)) => {
                if let Some(envelope) = self.codec.decode(bytes) {
                    self.receive(envelope);
                }
                true
            }
            Some(BusMessage::Gap) => {
                self.sweep.request();
                true
            }
            None => false,
        }
    }

    fn receive(&self, envelope: ReceivedEnvelope) {
        if envelope.node == self.codec.node {
            // This node handled the content of its other envelopes for its own sessions before it
            // published them.
            if let Content::Heartbeat { number, .. } = envelope.content {
                self.monitor.record_own(number);
            }
            return;
        }
        match envelope.content {
            Content::Doorbell(doorbell) => self.delivery.handle_doorbell(doorbell),
            Content::Heartbeat {
                number,
                doorbells,
                joins,
                changed_sessions,
                overflowed,
            } => {
                let is_complete = self.monitor.record_peer(envelope.node, envelope.incarnation, number);
                for doorbell in doorbells {
                    self.delivery.handle_doorbell(doorbell);
                }
                for (user, conversation) in joins {
                    self.user_joined(user, conversation);
                }
                for (user, code) in changed_sessions {
                    self.logins_changed(user, code);
                }
                if overflowed || !is_complete {
                    self.sweep.request();
                }
            }
            Content::Notice { audience, push, except } => {
                self.delivery.notify(audience, &SharedPush::new(push), except);
            }
            Content::SessionsChanged { user, code } => self.logins_changed(user, code),
            Content::UserJoined { user, conversation } => self.user_joined(user, conversation),
        }
    }

    fn user_joined(&self, user: UserId, conversation: ConversationId) {
        self.delivery.joined(user, conversation);
        // The set is bounded, because forged announcements could fill the memory. If it is full, a
        // sweep finds the real joins.
        if self.registry.has_user(user) && !self.joins.try_add((user, conversation)) {
            self.sweep.request();
        }
    }

    fn logins_changed(&self, user: UserId, code: CloseCode) {
        if self.registry.has_user(user) {
            self.logins.add((user, code));
        }
    }
}
