//! Presence on Redis: [`RedisPresence`]. A claim of a node says that a user's device is connected
//! to the node, and whether the device is online or idle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bb8_redis::redis::{Cmd, Pipeline, RedisError};
use chat_core::cluster::{ClusterError, Presence};
use chat_core::model::{DeviceId, NodeId, PresenceState, UserId};
use chat_core::sync::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::commands::CommandSender;
use crate::hex;

/// Time after which Redis deletes the claims of a user if no node has renewed one. Nodes renew
/// their claims in every sweep of the engine's router, by default about twice a minute.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// Maximum number of users whose claims are read in one round trip.
const MAX_USERS_PER_QUERY: usize = 200;
/// Maximum number of claims that are parsed for a user; the others are ignored. By default, a user
/// has at most 20 devices; the limit bounds what forged data can cost.
const MAX_CLAIMS_PER_USER: usize = 256;

/// Script that deletes the claim of a device if this node made it. KEYS: the user's hash. ARGV: the
/// device's id; the node's id, with which the text of its claims begins.
const CLEAR: &str = "local claim = redis.call('HGET', KEYS[1], ARGV[1])
if claim and string.sub(claim, 1, #ARGV[2]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0";

/// A [`Presence`] in Redis. A claim is valid only while its node's lease lasts, so all claims of a
/// dead node become void together.
#[derive(Debug)]
pub struct RedisPresence {
    commands: Arc<CommandSender>,
    leases: Arc<Leases>,
    /// Task that renews the leases.
    task: JoinHandle<()>,
}

/// Nodes of this process whose leases are renewed.
#[derive(Debug, Default)]
struct Leases {
    nodes: Mutex<BTreeSet<NodeId>>,
    /// Notified when a node is added.
    added: Notify,
}

impl RedisPresence {
    pub(crate) fn new(commands: Arc<CommandSender>) -> Self {
        let leases = Arc::new(Leases::default());
        let task = tokio::spawn(renew(Arc::clone(&commands), Arc::clone(&leases)));
        Self { commands, leases, task }
    }

    fn user_key(&self, user: UserId) -> String {
        self.commands.key(format_args!("presence:{user}"))
    }

    /// Returns the place of the claim of a device: the user's key, a space, the device's id.
    fn claim_place(&self, user: UserId, device: DeviceId) -> String {
        format!("{} {}", self.user_key(user), hex::encode(&device.0))
    }

    /// Returns a claim with its tag.
    fn tagged_claim(&self, user: UserId, device: DeviceId, node: NodeId, state: PresenceState) -> Vec<u8> {
        let place = self.claim_place(user, device);
        self.commands.tagger.add(&place, claim_text(node, state).as_bytes())
    }

    /// Checks the tag of a claim, and parses the claim. Returns `None` for anything but the output
    /// of [`tagged_claim`](Self::tagged_claim), and for a device that is offline.
    fn check_claim(&self, user: UserId, device: DeviceId, tagged: &[u8]) -> Option<(NodeId, PresenceState)> {
        let place = self.claim_place(user, device);
        parse_claim(self.commands.tagger.check(&place, tagged)?)
    }
}

impl Drop for RedisPresence {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns the command that starts or renews the lease of a node.
fn lease_command(commands: &CommandSender, node: NodeId) -> Cmd {
    let milliseconds = u64::try_from(commands.options.lease_timeout.as_millis()).unwrap_or(u64::MAX);
    let key = lease_key(commands, node);
    let lease = commands.tagger.add(&key, b"1");
    Cmd::new()
        .arg("SET")
        .arg(key)
        .arg(lease)
        .arg("PX")
        .arg(milliseconds)
        .take()
}

/// Returns the key of a node's lease. Redis deletes the key when the lease expires.
fn lease_key(commands: &CommandSender, node: NodeId) -> String {
    commands.key(format_args!("lease:{}", hex::encode(&node.0)))
}

/// Renews the leases of all nodes in `leases` at each renewal interval.
async fn renew(commands: Arc<CommandSender>, leases: Arc<Leases>) {
    loop {
        let mut renewals = Pipeline::new();
        for node in leases.nodes.lock().iter() {
            renewals.add_command(lease_command(&commands, *node)).ignore();
        }
        if renewals.cmd_iter().next().is_none() {
            leases.added.notified().await;
            continue;
        }
        if let Err(error) = commands.pipeline::<()>(&renewals).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "cannot renew the leases of the nodes of this process"
            );
        }
        sleep(commands.options.renewal_interval).await;
    }
}

const fn state_code(state: PresenceState) -> u8 {
    match state {
        PresenceState::Offline => 0,
        PresenceState::Idle => 1,
        PresenceState::Online => 2,
    }
}

/// Returns a claim as text: the node's id, a space, the state's code.
fn claim_text(node: NodeId, state: PresenceState) -> String {
    format!("{} {}", hex::encode(&node.0), state_code(state))
}

/// Parses the output of [`claim_text`]. Returns `None` for any other text, and for a device that is
/// offline.
fn parse_claim(text: &[u8]) -> Option<(NodeId, PresenceState)> {
    let (node, state) = (text.get(..32)?, text.get(32..)?);
    let state = match state {
        b" 1" => PresenceState::Idle,
        b" 2" => PresenceState::Online,
        _ => return None,
    };
    Some((NodeId(hex::decode(node)?), state))
}

fn unavailable(error: RedisError) -> ClusterError {
    ClusterError(error.into())
}

#[async_trait]
impl Presence for RedisPresence {
    async fn set(
        &self,
        node: NodeId,
        user: UserId,
        device: DeviceId,
        state: PresenceState,
    ) -> Result<(), ClusterError> {
        if self.leases.nodes.lock().insert(node) {
            self.leases.added.notify_one();
        }
        let key = self.user_key(user);
        let mut claim = Pipeline::new();
        claim.atomic().add_command(lease_command(&self.commands, node)).ignore();
        claim
            .cmd("HSET")
            .arg(&key)
            .arg(hex::encode(&device.0))
            .arg(self.tagged_claim(user, device, node, state))
            .ignore();
        claim.cmd("EXPIRE").arg(&key).arg(CLAIM_TIMEOUT.as_secs()).ignore();
        self.commands.pipeline::<()>(&claim).await.map_err(unavailable)
    }

    async fn clear(&self, node: NodeId, user: UserId, device: DeviceId) -> Result<(), ClusterError> {
        let clear = Cmd::new()
            .arg("EVAL")
            .arg(CLEAR)
            .arg(1)
            .arg(self.user_key(user))
            .arg(hex::encode(&device.0))
            .arg(hex::encode(&node.0))
            .take();
        let _: u64 = self.commands.query(&clear).await.map_err(unavailable)?;
        Ok(())
    }

    async fn devices(&self, users: &[UserId]) -> Result<Vec<(UserId, DeviceId, NodeId, PresenceState)>, ClusterError> {
        let mut claims = Vec::new();
        for users in users.chunks(MAX_USERS_PER_QUERY) {
            let mut all = Pipeline::new();
            for user in users {
                all.cmd("HGETALL").arg(self.user_key(*user));
            }
            let found: Vec<BTreeMap<Vec<u8>, Vec<u8>>> = self.commands.pipeline(&all).await.map_err(unavailable)?;
            for (user, devices) in users.iter().zip(found) {
                let devices = devices.iter().take(MAX_CLAIMS_PER_USER).filter_map(|(device, claim)| {
                    let device = DeviceId(hex::decode(device)?);
                    let (node, state) = self.check_claim(*user, device, claim)?;
                    Some((*user, device, node, state))
                });
                claims.extend(devices);
            }
        }
        let alive = self.alive(claims.iter().map(|claim| claim.2).collect()).await?;
        claims.retain(|claim| alive.contains(&claim.2));
        Ok(claims)
    }
}

impl RedisPresence {
    /// Returns the nodes among `nodes` whose leases have a valid tag and have not expired.
    async fn alive(&self, nodes: BTreeSet<NodeId>) -> Result<BTreeSet<NodeId>, ClusterError> {
        if nodes.is_empty() {
            return Ok(nodes);
        }
        let keys: Vec<String> = nodes.iter().map(|node| lease_key(&self.commands, *node)).collect();
        let mut read = Cmd::new();
        read.arg("MGET").arg(&keys);
        let leases: Vec<Option<Vec<u8>>> = self.commands.query(&read).await.map_err(unavailable)?;
        let is_alive = |key: &str, lease: Option<Vec<u8>>| {
            lease.is_some_and(|lease| self.commands.tagger.check(key, &lease).is_some())
        };
        let leases = keys.iter().zip(leases);
        Ok(nodes
            .into_iter()
            .zip(leases)
            .filter_map(|(node, (key, lease))| is_alive(key, lease).then_some(node))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_claim_accepts_only_idle_and_online_claims() {
        let node = NodeId([7; 16]);
        for state in [PresenceState::Idle, PresenceState::Online] {
            assert_eq!(parse_claim(claim_text(node, state).as_bytes()), Some((node, state)));
        }
        let offline = claim_text(node, PresenceState::Offline);
        let short = &claim_text(node, PresenceState::Online)[1..];
        for text in ["", "x", &offline, short, &format!("{} 2 ", hex::encode(&node.0))] {
            assert_eq!(parse_claim(text.as_bytes()), None, "{text}");
        }
    }
}
