//! Publishes the devices that are connected to this node in the presence service.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::cluster::{ClusterError, Presence};
use crate::model::{DeviceId, NodeId, PresenceState, UserId};
use crate::router::registry::Registry;
use crate::router::work_set::{WorkSet, WorkerOptions};

/// Worker that makes this node's claim of a device in the presence service match the device's
/// sessions on this node.
#[derive(Debug)]
pub(crate) struct PublishPresence {
    pub(crate) devices: WorkSet<(UserId, DeviceId)>,
    pub(crate) options: WorkerOptions,
    pub(crate) registry: Arc<Registry>,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) node: NodeId,
    pub(crate) call_timeout: Duration,
}

impl PublishPresence {
    pub(crate) async fn run(self) {
        let publish = |(user, device)| self.publish(user, device);
        self.devices.drain_forever(self.options, publish).await;
    }

    async fn publish(&self, user: UserId, device: DeviceId) -> Result<(), ClusterError> {
        let sessions = self.registry.of_user(user);
        // A device has two sessions while a new session replaces the old one. The more active of
        // them counts.
        let state = sessions
            .iter()
            .filter(|session| session.caller.device() == Some(device))
            .map(|session| session.presence())
            .max();
        let change = async {
            match state {
                Some(state) if state > PresenceState::Offline => {
                    self.presence.set(self.node, user, device, state).await
                }
                _ => self.presence.clear(self.node, user, device).await,
            }
        };
        let result = timeout(self.call_timeout, change).await;
        result.unwrap_or_else(|_| {
            let text = format!("the presence service did not answer within {:?}", self.call_timeout);
            Err(ClusterError(text.into()))
        })
    }
}
