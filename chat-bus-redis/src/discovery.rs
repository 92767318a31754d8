//! [`RedisDiscovery`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use bb8_redis::redis::{Cmd, RedisError, RedisResult};
use chat_core::cluster::{ClusterError, Discovery, NodeInfo, Nodes};
use chat_core::model::NodeId;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::commands::Commands;
use crate::hex;
use crate::listener::Listener;

/// Nodes of a cluster; what is beyond is not ours.
const NODES: usize = 1000;
/// Bytes that a node may tell of itself.
const TOLD: usize = 64 * 1024;

/// Stores what a node tells unless a later life of it was heard of, and rings: KEYS are the node's key, the set of ids and the
/// channel, ARGV what it tells (beginning with its incarnation in 20 digits), the lease in milliseconds, and the id.
const TELL: &str = "local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 20) > string.sub(ARGV[1], 1, 20) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
if held ~= ARGV[1] then redis.call('PUBLISH', KEYS[3], '') end
return 1";

/// Withdraws a node, and rings: KEYS as above, ARGV the id.
const LEAVE: &str = "redis.call('SREM', KEYS[2], ARGV[1])
if redis.call('DEL', KEYS[1]) == 1 then redis.call('PUBLISH', KEYS[3], '') end
return 1";

/// A [`Discovery`] in Redis. Each node holds a lease on what it tells of itself; a node that dies is out of the view once that has run
/// out. While Redis is away, the view stays as it was.
#[derive(Debug)]
pub struct RedisDiscovery {
    shared: Arc<Shared>,
    /// Begun by the first who joins.
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    commands: Arc<Commands>,
    /// Nodes of this process, and what they tell.
    own: Mutex<BTreeMap<NodeId, NodeInfo>>,
    view: watch::Sender<Nodes>,
}

impl Drop for RedisDiscovery {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl RedisDiscovery {
    pub(crate) fn new(commands: Arc<Commands>) -> Self {
        let shared = Shared {
            commands,
            own: Mutex::default(),
            view: watch::Sender::new(Arc::from([])),
        };
        Self {
            shared: Arc::new(shared),
            task: Mutex::default(),
        }
    }

    fn keep_up(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.get_or_insert_with(|| tokio::spawn(keep_up(Arc::downgrade(&self.shared))));
    }
}

#[async_trait]
impl Discovery for RedisDiscovery {
    async fn join(&self, me: NodeInfo) -> Result<watch::Receiver<Nodes>, ClusterError> {
        self.keep_up();
        self.shared.remember(&me);
        // A node starts without Redis too; its claim is made as soon as there is one.
        if let Err(error) = self.shared.tell_and_look(&me).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "this node is not known to the others yet"
            );
            self.shared.show(Vec::new());
        }
        Ok(self.shared.view.subscribe())
    }

    async fn update(&self, me: NodeInfo) -> Result<(), ClusterError> {
        self.shared.remember(&me);
        self.shared.tell_and_look(&me).await.map_err(unavailable)
    }

    async fn leave(&self, id: NodeId) -> Result<(), ClusterError> {
        self.shared.own().remove(&id);
        self.shared.leave(id).await.map_err(unavailable)?;
        self.shared.look().await.map_err(unavailable)
    }
}

fn unavailable(error: RedisError) -> ClusterError {
    ClusterError(error.into())
}

impl Shared {
    fn own(&self) -> MutexGuard<'_, BTreeMap<NodeId, NodeInfo>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its claim is renewed from now on, unless it is one of an older life than the known one.
    fn remember(&self, me: &NodeInfo) {
        let mut own = self.own();
        if own.get(&me.id).is_none_or(|held| held.incarnation <= me.incarnation) {
            own.insert(me.id, me.clone());
        }
    }

    fn node_key(&self, id: NodeId) -> String {
        self.commands.key(format_args!("node:{}", hex::encode(&id.0)))
    }

    fn set_key(&self) -> String {
        self.commands.key("nodes")
    }

    fn script(&self, text: &str, id: NodeId) -> Cmd {
        let keys = [self.node_key(id), self.set_key(), self.set_key()];
        Cmd::new().arg("EVAL").arg(text).arg(keys.len()).arg(&keys).take()
    }

    async fn tell(&self, me: &NodeInfo) -> RedisResult<()> {
        let lease = u64::try_from(self.commands.options.lease.as_millis()).unwrap_or(u64::MAX);
        let mut tell = self.script(TELL, me.id);
        tell.arg(write(me)).arg(lease).arg(hex::encode(&me.id.0));
        let _: u64 = self.commands.query(&tell).await?;
        Ok(())
    }

    async fn leave(&self, id: NodeId) -> RedisResult<()> {
        let mut leave = self.script(LEAVE, id);
        leave.arg(hex::encode(&id.0));
        let _: u64 = self.commands.query(&leave).await?;
        Ok(())
    }

    async fn tell_and_look(&self, me: &NodeInfo) -> RedisResult<()> {
        self.tell(me).await?;
        self.look().await
    }

    /// Reads who there is.
    async fn look(&self) -> RedisResult<()> {
        let ids: Vec<Vec<u8>> = self
            .commands
            .query(Cmd::new().arg("SMEMBERS").arg(self.set_key()))
            .await?;
        let ids: Vec<NodeId> = ids
            .iter()
            .filter_map(|id| hex::decode(id).map(NodeId))
            .take(NODES)
            .collect();
        let mut nodes = Vec::new();
        if !ids.is_empty() {
            let mut told = Cmd::new();
            told.arg("MGET");
            for id in &ids {
                told.arg(self.node_key(*id));
            }
            let told: Vec<Option<Vec<u8>>> = self.commands.query(&told).await?;
            let mut dead = Cmd::new();
            dead.arg("SREM").arg(self.set_key());
            let mut has_dead = false;
            for (id, told) in ids.into_iter().zip(told) {
                match told {
                    Some(text) => nodes.extend(read(id, &text)),
                    // Whoever lives after all enters itself again with the next renewal.
                    None => {
                        dead.arg(hex::encode(&id.0));
                        has_dead = true;
                    }
                }
            }
            if has_dead {
                let _: u64 = self.commands.query(&dead).await?;
            }
        }
        self.show(nodes);
        Ok(())
    }

    /// Shows these nodes, and our own, who are there whatever Redis says.
    fn show(&self, found: Vec<NodeInfo>) {
        let mut nodes: BTreeMap<NodeId, NodeInfo> = found.into_iter().map(|node| (node.id, node)).collect();
        for (id, own) in self.own().iter() {
            if nodes.get(id).is_none_or(|node| node.incarnation <= own.incarnation) {
                nodes.insert(*id, own.clone());
            }
        }
        let nodes: Nodes = nodes.into_values().collect();
        self.view.send_if_modified(|view| {
            let changed = *view != nodes;
            *view = nodes;
            changed
        });
    }
}

/// Renews our claims, and looks whenever somebody rings.
async fn keep_up(shared: Weak<Shared>) {
    let Some(commands) = shared.upgrade().map(|shared| Arc::clone(&shared.commands)) else {
        return;
    };
    let mut listener: Listener<()> = Listener::start(Arc::clone(&commands)).await;
    // Without Redis it fails, and is subscribed as soon as there is one.
    let _ = listener.handle().subscribe(commands.key("nodes"), ()).await;
    let mut renewal = Instant::now();
    loop {
        let rang = tokio::select! {
            () = sleep_until(renewal) => false,
            heard = listener.next() => {
                if heard.is_none() {
                    return;
                }
                true
            }
        };
        let Some(shared) = shared.upgrade() else { return };
        let kept_up = async {
            if !rang {
                let own: Vec<NodeInfo> = shared.own().values().cloned().collect();
                for me in own {
                    shared.tell(&me).await?;
                }
            }
            shared.look().await
        };
        if let Err(error) = kept_up.await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the view of the nodes is not renewed"
            );
        }
        if !rang {
            renewal = Instant::now() + commands.options.renewal;
        }
    }
}

/// What a node tells: its incarnation in 20 digits, sessions, whether it drains, and an address a line.
fn write(me: &NodeInfo) -> String {
    let mut text = format!("{:020}\n{}\n{}", me.incarnation, me.sessions, u8::from(me.draining));
    for address in &me.addresses {
        text.push('\n');
        text.extend(address.chars().filter(|letter| *letter != '\n'));
    }
    text
}

fn read(id: NodeId, text: &[u8]) -> Option<NodeInfo> {
    let text = std::str::from_utf8(text.get(..text.len().min(TOLD + 1))?).ok()?;
    if text.len() > TOLD {
        return None;
    }
    let mut lines = text.split('\n');
    Some(NodeInfo {
        id,
        incarnation: lines.next()?.parse().ok()?,
        sessions: lines.next()?.parse().ok()?,
        draining: match lines.next()? {
            "0" => false,
            "1" => true,
            _ => return None,
        },
        addresses: lines.map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_reads_back_and_nothing_else_does() {
        let me = NodeInfo {
            id: NodeId([1; 16]),
            incarnation: u64::MAX,
            addresses: vec!["sc1://[::1]:1".into(), String::new(), "tls://例え:2".into()],
            sessions: u32::MAX,
            draining: true,
        };
        assert_eq!(read(me.id, write(&me).as_bytes()), Some(me.clone()));
        let alone = NodeInfo {
            addresses: Vec::new(),
            ..me
        };
        assert_eq!(read(alone.id, write(&alone).as_bytes()), Some(alone.clone()));
        let long = format!("1\n1\n1\n{}", "x".repeat(TOLD));
        for text in ["", "1", "1\n1", "1\n1\n2", "x\n1\n1", "1\n-1\n0", &long] {
            assert_eq!(read(alone.id, text.as_bytes()), None, "{:.20}", text);
        }
        assert_eq!(read(alone.id, &[0xff; 9]), None);
    }
}
