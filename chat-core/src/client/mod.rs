//! A client of a chat service: the protocol from the other side, with everything that makes it reliable.
//!
//! [`Machine`](machine::Machine) is the protocol without I/O; a driver connects, reconnects and feeds it; a [`ClientStore`] keeps what has to
//! survive a run. What comes out:
//! - each entry of each log once per process life, in order, without holes, however pushes were lost, doubled or reordered;
//! - after a restart, everything after what the application has acknowledged;
//! - messages that are durable in the outbox before they are sent, and are sent until they are acked or refused: each is stored once or
//!   not at all, in the order they were written in.
//!
//! ```no_run
//! use chat_core::client::{Client, ClientEvent, ClientOptions, Credentials, FileStore};
//! use chat_core::model::{ConversationRef, EventBody, MessageText, Secret, UserName, UserRef};
//! use chat_core::secure::Trust;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let account = UserRef::Name(UserName::parse("echo-bot")?);
//! let secret = Secret::new(std::env::var("CHAT_PASSWORD")?);
//! let credentials = Credentials::Password { account, secret, fresh: false };
//! let mut options = ClientOptions::new(["127.0.0.1:7400".parse::<chat_core::client::ServerAddress>()?], credentials);
//! options.trust = Trust::AcceptNew;
//! let client = Client::connect(options, FileStore::open("echo-bot", "known_hosts")?).await?;
//!
//! let mut events = client.events().expect("nobody else took them");
//! while let Some(received) = events.next().await {
//!     if let ClientEvent::Event(delivery) = &received.event
//!         && let EventBody::Message(message) = &delivery.body
//!         && !delivery.own
//!     {
//!         let there = ConversationRef::Id(delivery.conversation.id);
//!         client.send_text(there, MessageText::new(message.text.as_str())?).await?;
//!     }
//!     received.done();
//! }
//! # Ok(())
//! # }
//! ```

pub mod machine;

mod address;
mod connect;
mod cursor;
mod discover;
mod driver;
mod error;
mod event;
mod events;
mod handle;
mod link;
mod options;
mod own;
mod reconnect;
mod scheme;
mod sendable;
mod shared;
mod store;

pub use address::{DEFAULT_PORT, Dial, Endpoint, InvalidAddress, Scheme, ServerAddress};
pub use cursor::{Cursor, Mark};
pub use discover::discover;
pub use error::ClientError;
pub use event::{ClientEvent, Delivery, SendOutcome};
pub use events::{Events, Received};
pub use handle::{Client, SendHandle};
pub use machine::{Credentials, Receive};
pub use options::{ClientOptions, FirstContact};
pub use shared::Status;
pub use store::{AccountState, ClientStore, ClientStoreError, FileStore, Kept, MemoryStore, OutboxEntry};
