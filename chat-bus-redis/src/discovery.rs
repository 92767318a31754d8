//! Node discovery on Redis: [`RedisDiscovery`].

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bb8_redis::redis::{Cmd, RedisError, RedisResult};
use chat_core::cluster::{ClusterError, Discovery, NodeInfo, Nodes};
use chat_core::model::{ClusterKey, NodeId};
use chat_core::sync::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::commands::CommandSender;
use crate::hex;
use crate::listener::Listener;

/// Maximum number of nodes whose infos are read from Redis. A cluster has fewer; further ids in the
/// set, which would be forged, are ignored.
const MAX_NODES: usize = 1000;
/// Maximum size of the text of a [`NodeInfo`], without its tag, in bytes. Longer texts are ignored.
const MAX_INFO_BYTES: usize = 64 * 1024;

/// Script that stores the text of a [`NodeInfo`] with its tag, unless Redis has that of a later
/// incarnation (a number that grows with each start of a node). If the text differs from the stored
/// one, it announces the change on the channel. KEYS: the node's key, the set of node ids, the
/// channel. ARGV: the text, which begins with the incarnation in 20 digits, followed by its tag;
/// the lifetime of the lease in milliseconds; the node's id.
const STORE_INFO: &str = "local stored = redis.call('GET', KEYS[1])
if stored and string.sub(stored, 1, 20) > string.sub(ARGV[1], 1, 20) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
if stored ~= ARGV[1] then redis.call('PUBLISH', KEYS[3], '') end
return 1";

/// Script that removes a node, and announces the change on the channel if Redis had the node's
/// info. KEYS: those of [`STORE_INFO`]. ARGV: the node's id.
const LEAVE: &str = "redis.call('SREM', KEYS[2], ARGV[1])
if redis.call('DEL', KEYS[1]) == 1 then redis.call('PUBLISH', KEYS[3], '') end
return 1";

/// A [`Discovery`] in Redis. The info of each node is stored with a lease, which the node renews; a
/// node that has crashed leaves the view (the list of all nodes) once its lease has expired. While
/// Redis cannot be reached, the view stays as it was; it only gains the nodes of this process that
/// join.
#[derive(Debug)]
pub struct RedisDiscovery {
    shared: Arc<Shared>,
    /// Task that renews the leases and refreshes the view, started by the first
    /// [`Discovery::join`].
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    commands: Arc<CommandSender>,
    /// Nodes of this process, with the info of each.
    own: Mutex<BTreeMap<NodeId, NodeInfo>>,
    view: watch::Sender<Nodes>,
}

impl Drop for RedisDiscovery {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

impl RedisDiscovery {
    pub(crate) fn new(commands: Arc<CommandSender>) -> Self {
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

    fn start_task(&self) {
        let mut task = self.task.lock();
        task.get_or_insert_with(|| tokio::spawn(renew(Arc::downgrade(&self.shared))));
    }
}

#[async_trait]
impl Discovery for RedisDiscovery {
    async fn join(&self, me: NodeInfo) -> Result<watch::Receiver<Nodes>, ClusterError> {
        self.start_task();
        self.shared.add_own(&me);
        // A node can start while Redis is down. The task stores the node's info at the first
        // renewal that reaches Redis.
        if let Err(error) = self.shared.store_and_refresh(&me).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot announce this node in Redis yet; retrying"
            );
            let known = self.shared.view.borrow().to_vec();
            self.shared.publish_view(known);
        }
        Ok(self.shared.view.subscribe())
    }

    async fn update(&self, me: NodeInfo) -> Result<(), ClusterError> {
        self.shared.add_own(&me);
        self.shared.store_and_refresh(&me).await.map_err(unavailable)
    }

    async fn leave(&self, id: NodeId) -> Result<(), ClusterError> {
        self.shared.own.lock().remove(&id);
        self.shared.leave(id).await.map_err(unavailable)?;
        self.shared.refresh_view().await.map_err(unavailable)
    }
}

fn unavailable(error: RedisError) -> ClusterError {
    ClusterError(error.into())
}

impl Shared {
    /// Adds a node to those whose leases the task renews, or replaces its info. Ignores an info of
    /// an older incarnation than the known one.
    fn add_own(&self, me: &NodeInfo) {
        let mut own = self.own.lock();
        if own.get(&me.id).is_none_or(|known| known.incarnation <= me.incarnation) {
            own.insert(me.id, me.clone());
        }
    }

    fn node_key(&self, id: NodeId) -> String {
        self.commands.key(format_args!("node:{}", hex::encode(&id.0)))
    }

    /// Returns the name of the set of node ids, which is also the name of the channel on which
    /// nodes announce changes.
    fn nodes_key(&self) -> String {
        self.commands.key("nodes")
    }

    /// Returns the command that runs [`STORE_INFO`] or [`LEAVE`] for node `id`; the caller adds the
    /// arguments.
    fn script(&self, text: &str, id: NodeId) -> Cmd {
        let keys = [self.node_key(id), self.nodes_key(), self.nodes_key()];
        Cmd::new().arg("EVAL").arg(text).arg(keys.len()).arg(&keys).take()
    }

    async fn store_info(&self, me: &NodeInfo) -> RedisResult<()> {
        let lease = u64::try_from(self.commands.options.lease_timeout.as_millis()).unwrap_or(u64::MAX);
        let info = self
            .commands
            .tagger
            .add(&self.node_key(me.id), info_text(me).as_bytes());
        let mut store = self.script(STORE_INFO, me.id);
        store.arg(info).arg(lease).arg(hex::encode(&me.id.0));
        let _: u64 = self.commands.query(&store).await?;
        Ok(())
    }

    async fn leave(&self, id: NodeId) -> RedisResult<()> {
        let mut leave = self.script(LEAVE, id);
        leave.arg(hex::encode(&id.0));
        let _: u64 = self.commands.query(&leave).await?;
        Ok(())
    }

    /// Parses the stored info of a node; returns `None` if it is malformed or too long, or if no
    /// node of this cluster wrote it.
    fn check_info(&self, id: NodeId, tagged: &[u8]) -> Option<NodeInfo> {
        if tagged.len() > MAX_INFO_BYTES + ClusterKey::TAG_BYTES {
            return None;
        }
        let text = self.commands.tagger.check(&self.node_key(id), tagged)?;
        parse_info(id, text)
    }

    async fn store_and_refresh(&self, me: &NodeInfo) -> RedisResult<()> {
        self.store_info(me).await?;
        self.refresh_view().await
    }

    /// Reads the infos of the nodes, at most [`MAX_NODES`], and publishes them as the view. Removes
    /// the ids of nodes whose lease has expired.
    async fn refresh_view(&self) -> RedisResult<()> {
        let ids: Vec<Vec<u8>> = self
            .commands
            .query(Cmd::new().arg("SMEMBERS").arg(self.nodes_key()))
            .await?;
        let ids: Vec<NodeId> = ids
            .iter()
            .filter_map(|id| hex::decode(id).map(NodeId))
            .take(MAX_NODES)
            .collect();
        let mut nodes = Vec::new();
        if !ids.is_empty() {
            let mut read = Cmd::new();
            read.arg("MGET");
            for id in &ids {
                read.arg(self.node_key(*id));
            }
            let infos: Vec<Option<Vec<u8>>> = self.commands.query(&read).await?;
            let mut remove_expired = Cmd::new();
            remove_expired.arg("SREM").arg(self.nodes_key());
            let mut has_expired = false;
            for (id, info) in ids.into_iter().zip(infos) {
                match info {
                    Some(tagged) => nodes.extend(self.check_info(id, &tagged)),
                    // A node that was only late adds its id again with its next renewal.
                    None => {
                        remove_expired.arg(hex::encode(&id.0));
                        has_expired = true;
                    }
                }
            }
            if has_expired {
                let _: u64 = self.commands.query(&remove_expired).await?;
            }
        }
        self.publish_view(nodes);
        Ok(())
    }

    /// Publishes a view of these nodes and of the nodes of this process, which are alive even if
    /// Redis does not list them.
    fn publish_view(&self, found: Vec<NodeInfo>) {
        let mut nodes: BTreeMap<NodeId, NodeInfo> = found.into_iter().map(|node| (node.id, node)).collect();
        for (id, own) in self.own.lock().iter() {
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

/// Renews the leases of this process's nodes at each renewal interval. Refreshes the view after
/// each renewal that succeeds, and whenever a node announces a change or announcements may have
/// been lost. Returns once the [`RedisDiscovery`] is dropped.
async fn renew(shared: Weak<Shared>) {
    let Some(commands) = shared.upgrade().map(|shared| Arc::clone(&shared.commands)) else {
        return;
    };
    let mut listener: Listener<()> = Listener::start(Arc::clone(&commands)).await;
    // If this fails, the listener subscribes as soon as Redis can be reached.
    let _ = listener.handle().subscribe(commands.key("nodes"), ()).await;
    let mut next_renewal = Instant::now();
    loop {
        let is_renewal_due = tokio::select! {
            () = sleep_until(next_renewal) => true,
            event = listener.next() => {
                if event.is_none() {
                    return;
                }
                false
            }
        };
        let Some(shared) = shared.upgrade() else { return };
        let renewed = async {
            if is_renewal_due {
                let own: Vec<NodeInfo> = shared.own.lock().values().cloned().collect();
                for me in own {
                    shared.store_info(&me).await?;
                }
            }
            shared.refresh_view().await
        };
        if let Err(error) = renewed.await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "cannot renew the leases of the nodes of this process, or read the list of nodes; retrying"
            );
        }
        if is_renewal_due {
            next_renewal = Instant::now() + commands.options.renewal_interval;
        }
    }
}

/// Returns a node's info as text, one value a line: incarnation in 20 digits, sessions,
/// `accepts_no_sessions` as 0 or 1, then the addresses.
fn info_text(me: &NodeInfo) -> String {
    let mut text = format!(
        "{:020}\n{}\n{}",
        me.incarnation,
        me.sessions,
        u8::from(me.accepts_no_sessions)
    );
    for address in &me.addresses {
        text.push('\n');
        text.extend(address.chars().filter(|letter| *letter != '\n'));
    }
    text
}

/// Parses the output of [`info_text`]; returns `None` for malformed or too long text.
fn parse_info(id: NodeId, text: &[u8]) -> Option<NodeInfo> {
    let text = std::str::from_utf8(text.get(..text.len().min(MAX_INFO_BYTES + 1))?).ok()?;
    if text.len() > MAX_INFO_BYTES {
        return None;
    }
    let mut lines = text.split('\n');
    let mut info = NodeInfo::new(id, lines.next()?.parse().ok()?);
    info.sessions = lines.next()?.parse().ok()?;
    info.accepts_no_sessions = match lines.next()? {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    info.addresses = lines.map(str::to_owned).collect();
    Some(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a discovery whose Redis cannot be reached.
    fn unreachable_discovery() -> RedisDiscovery {
        let client = bb8_redis::redis::Client::open("redis://127.0.0.1:1/").unwrap();
        let options = crate::Options {
            connect_timeout: std::time::Duration::from_millis(50),
            ..crate::Options::default()
        };
        RedisDiscovery::new(CommandSender::new(client, ClusterKey::random(), options))
    }

    #[tokio::test]
    async fn node_that_joins_during_an_outage_keeps_the_view() {
        let discovery = unreachable_discovery();
        let node = |id| NodeInfo::new(NodeId([id; 16]), 1);
        discovery.shared.publish_view(vec![node(1)]);
        let view = discovery.join(node(2)).await.unwrap();
        assert_eq!(**view.borrow(), [node(1), node(2)]);
    }

    #[test]
    fn parse_info_reads_info_texts_and_rejects_malformed_and_long_ones() {
        let mut me = NodeInfo::new(NodeId([1; 16]), u64::MAX);
        me.addresses = vec!["sc1://[::1]:1".into(), String::new(), "tls://例え:2".into()];
        me.sessions = u32::MAX;
        me.accepts_no_sessions = true;
        assert_eq!(parse_info(me.id, info_text(&me).as_bytes()), Some(me.clone()));
        let mut alone = me;
        alone.addresses = Vec::new();
        assert_eq!(parse_info(alone.id, info_text(&alone).as_bytes()), Some(alone.clone()));
        let long = format!("1\n1\n1\n{}", "x".repeat(MAX_INFO_BYTES));
        for text in ["", "1", "1\n1", "1\n1\n2", "x\n1\n1", "1\n-1\n0", &long] {
            assert_eq!(parse_info(alone.id, text.as_bytes()), None, "{:.20}", text);
        }
        assert_eq!(parse_info(alone.id, &[0xff; 9]), None);
    }
}
