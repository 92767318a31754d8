//! `faulty-server`: a chat server with one deliberate fault.
//!
//! It is composed from the library crates that `chat-server` uses for a cluster, with a
//! [`FaultyStore`] between the engine and MariaDB. The harness runs clusters of such servers and
//! expects its check of the recorded history to report each [`Fault`]. Without `--fault`, the check
//! must report nothing, because the wrapper itself changes nothing.

mod fault;
mod store;
mod transaction;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use chat_bus_redis::RedisBackend;
use chat_core::auth::ConnectionLimits;
use chat_core::engine::{Engine, EngineConfig};
use chat_core::rate::Rate;
use chat_core::secure::{ServerIdentity, ServerKeys};
use chat_core::server::{Server, ServerConfig};
use chat_core::store::Store;
use chat_store_mysql::MysqlStore;
use clap::Parser;

use crate::fault::Fault;
use crate::store::FaultyStore;

/// Chat server with one deliberate fault. It accepts the options that the harness passes to
/// `chat-server`, and ignores environment variables of `chat-server` that are not listed below.
#[derive(Debug, Parser)]
struct Options {
    /// Address to listen on, as `sc1://ADDRESS:PORT`.
    #[arg(long)]
    listen: String,
    /// Ignored, because the server stores nothing there; the harness passes it to every server.
    #[arg(long)]
    data_dir: PathBuf,
    /// URL of the MariaDB database that the nodes share.
    #[arg(long, env = "CHAT_STORE__URL")]
    store: String,
    /// URL of the Redis server that the nodes share.
    #[arg(long, env = "CHAT_BUS__URL")]
    bus: String,
    /// File with the key of the server; created if it does not exist.
    #[arg(long, env = "CHAT_IDENTITY__KEY_FILE")]
    key_file: PathBuf,
    /// Deliberate fault [default: none].
    #[arg(long, env = "FAULT")]
    fault: Option<Fault>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::ERROR)
        .with_writer(std::io::stderr)
        .init();
    let address: SocketAddr = options
        .listen
        .strip_prefix("sc1://")
        .ok_or("--listen must be sc1://ADDRESS:PORT")?
        .parse()?;
    let mysql = MysqlStore::open(&options.store, chat_store_mysql::Options::default()).await?;
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::new(mysql), options.fault));
    let redis = RedisBackend::open(
        &options.bus,
        store.cluster_key().await?,
        chat_bus_redis::Options::default(),
    )?;
    let engine = Engine::builder(store)
        .config(engine_config())
        .bus(Arc::new(redis.bus()))
        .presence(Arc::new(redis.presence()))
        .discovery(Arc::new(redis.discovery()))
        .build()
        .await?;

    let identity = ServerIdentity::load_or_generate(&options.key_file)?;
    let fingerprint = identity.fingerprint();
    let unix_now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let keys = Arc::new(ServerKeys::new(identity, unix_now)?);
    let server = Server::builder(engine.clone())
        .config(server_config())
        .sc1(address, keys)
        .bind()
        .await?;
    let addresses: Vec<_> = server.addresses().to_vec();
    engine.advertise(
        addresses
            .iter()
            .map(|(protocol, address)| format!("{protocol}://{address}"))
            .collect(),
    );
    for (protocol, address) in &addresses {
        println!("listening {protocol} {address}");
    }
    println!("ready\nfingerprint {fingerprint}");
    // The harness kills its nodes; the server never exits by itself.
    std::future::pending().await
}

/// Returns a configuration without the rate limits that a test would exceed: all users of a test
/// connect from one address, and they send and read more than the default rates allow. Other limits
/// keep their defaults.
fn engine_config() -> EngineConfig {
    let mut config = EngineConfig::default();
    config.throttle.login_rate = Rate::UNLIMITED;
    config.throttle.login_rate_per_source = Rate::UNLIMITED;
    config.throttle.registration_rate_per_source = Rate::UNLIMITED;
    config.message_rate_per_user = Rate::UNLIMITED;
    config.page_rate = Rate::UNLIMITED;
    config.read_rate = Rate::UNLIMITED;
    config
}

fn server_config() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.connection_limits = ConnectionLimits::danger_unlimited();
    config.session.message_rate_per_connection = Rate::UNLIMITED;
    config.session.packet_rate = Rate::UNLIMITED;
    config
}
