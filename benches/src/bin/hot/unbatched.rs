//! The figure to compare with: what the database takes if every message is a transaction of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::auth::RateLimit;
use chat_core::engine::{Engine, EngineConfig};
use chat_core::model::{Command, ConversationId, ConversationRef, DeviceId, UserId};
use chat_store_mysql::{MysqlStore, Options};
use tokio::task::JoinSet;

use crate::{Result, draft};

/// The rate of engines in this process that write one message at a time to this database, for all members at once. Nobody is
/// connected to them, so this is the most that they can do.
pub(crate) async fn rate(
    url: &str,
    engines: usize,
    members: &[UserId],
    group: ConversationId,
    time: Duration,
) -> Result<f64> {
    let mut config = EngineConfig::default();
    config.batch_drafts = 1;
    config.user_messages = RateLimit::UNLIMITED;
    let mut nodes = Vec::new();
    for _ in 0..engines {
        let store = Arc::new(MysqlStore::open(url, Options::default()).await?);
        nodes.push(Engine::builder(store).config(config.clone()).build().await?);
    }
    let (started, mut tasks) = (Instant::now(), JoinSet::new());
    for (number, member) in members.iter().enumerate() {
        let session = nodes[number % engines].session(*member, DeviceId::random()).await?;
        tasks.spawn(async move {
            let mut acknowledged = 0;
            while started.elapsed() < time {
                let conversation = ConversationRef::Id(group);
                let sent = session.execute(Command::Send {
                    conversation,
                    draft: draft()?,
                });
                sent.await?;
                acknowledged += 1;
            }
            Result::Ok(acknowledged)
        });
    }
    let mut acknowledged = 0_u32;
    while let Some(task) = tasks.join_next().await {
        acknowledged += task??;
    }
    let rate = f64::from(acknowledged) / started.elapsed().as_secs_f64();
    for node in nodes {
        node.shutdown().await;
    }
    Ok(rate)
}
