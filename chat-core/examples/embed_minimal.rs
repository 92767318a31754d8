//! A chat server inside your own program: `cargo run -p chat-core --example embed_minimal`, then
//! `chat-client --plain --server 127.0.0.1:7400 --user alice register`.
//!
//! The memory store keeps nothing over a restart; use `chat_store_sqlite::SqliteStore` for durable
//! messages.

use std::sync::Arc;
use std::time::Duration;

use chat_core::engine::Engine;
use chat_core::server::Server;
use chat_core::store::MemoryStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::builder(Arc::new(MemoryStore::new())).build().await?;
    let server = Server::builder(engine.clone())
        .plain("127.0.0.1:7400".parse()?)
        .bind()
        .await?;
    println!("listening on {:?}; Ctrl-C ends", server.addresses());

    let ctrl_c = async { drop(tokio::signal::ctrl_c().await) };
    server.serve_until(ctrl_c, Duration::from_secs(10)).await;
    engine.shutdown().await;
    Ok(())
}
