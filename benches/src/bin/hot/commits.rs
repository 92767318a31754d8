//! Throughput of engines and their database, without connections of clients and without receivers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::engine::{Engine, EngineConfig};
use chat_core::model::{Command, ConversationId, ConversationRef, DeviceId, UserId};
use chat_core::rate::Rate;
use chat_core::service::ChatService as _;
use chat_store_mysql::{MysqlStore, Options};
use tokio::task::JoinSet;

use crate::{Result, draft};

/// Number of messages that one member has in flight. With 64 members on three engines these are at
/// most 352 messages an engine, which the queue of the conversation (512 drafts) can hold.
const WINDOW: usize = 16;

/// Creates sessions of all members, one after the other. Each member sends from then on, and all
/// stop `time` after the first session was requested. Returns the number of acknowledged messages
/// per second. The members are distributed over `engine_count` engines in this process, which write
/// to the database at `url`, at most `max_batch` messages in a transaction.
pub(crate) async fn rate(
    url: &str,
    engine_count: usize,
    members: &[UserId],
    group: ConversationId,
    max_batch: usize,
    time: Duration,
) -> Result<f64> {
    let mut config = EngineConfig::default();
    config.max_batch_drafts = max_batch;
    config.message_rate_per_user = Rate::UNLIMITED;
    let mut engines = Vec::new();
    for _ in 0..engine_count {
        let store = Arc::new(MysqlStore::open(url, Options::default()).await?);
        engines.push(Engine::builder(store).config(config.clone()).build().await?);
    }
    let (started, mut tasks) = (Instant::now(), JoinSet::new());
    for (number, member) in members.iter().enumerate() {
        let engine = &engines[number % engine_count];
        // The session is dropped at once. A command needs only its `Caller`, which stays valid.
        let caller = engine.session(*member, DeviceId::random()).await?.caller();
        for _ in 0..WINDOW {
            let engine = engine.clone();
            tasks.spawn(async move {
                let mut acknowledged = 0_u32;
                while started.elapsed() < time {
                    let conversation = ConversationRef::Id(group);
                    let draft = draft()?;
                    let sent = engine.execute(caller, Command::Send { conversation, draft });
                    // Refusals do not count. BUSY and TRY_AGAIN are expected, because the
                    // measurement saturates the engine on purpose.
                    acknowledged += u32::from(sent.await.is_ok());
                }
                Result::Ok(acknowledged)
            });
        }
    }
    let mut acknowledged = 0;
    while let Some(task) = tasks.join_next().await {
        acknowledged += task??;
    }
    let rate = f64::from(acknowledged) / started.elapsed().as_secs_f64();
    for engine in engines {
        engine.shutdown().await;
    }
    Ok(rate)
}
