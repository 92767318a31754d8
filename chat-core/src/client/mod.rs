//! Client of a chat service: the client side of the protocol, with reconnection, an outbox and
//! resynchronisation.
//!
//! `Machine` (with the feature `unstable`) is the protocol without I/O. A driver connects,
//! reconnects and feeds it; a [`ClientStore`] keeps the state that must survive a restart. The
//! client guarantees:
//! - From the start of delivery that [`Receive`] selects, it delivers every event of every
//!   conversation once per run (from the start of a client to its end), in order and without gaps,
//!   although pushes may be lost, duplicated or reordered. It reports the exceptions: events that
//!   the user may not read or the server no longer has, and logs that are delivered again because
//!   the server's operator restored a backup.
//! - By default, it delivers after a restart everything that the application has not acknowledged.
//! - A message is durable in the outbox before it is sent, and is sent until the server stores or
//!   refuses it, its deadline passes, or the server repeatedly has an internal error. If the server
//!   is restored from a backup while a message waits, the message is rejected if it contains
//!   message numbers or ids of users, or if its conversation has no known name or was renamed
//!   meanwhile. A message is stored once or not at all; with the default options, messages of one
//!   conversation keep their order.
//!
//! ```no_run
//! use chat_core::client::{Client, ClientEvent, ClientOptions, Credentials, FileStore};
//! use chat_core::commands::Commands;
//! use chat_core::model::{EventBody, Secret, UserName, UserRef};
//! use chat_core::secure::Trust;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let account = UserRef::Name(UserName::parse("echo-bot")?);
//! let secret = Secret::new(std::env::var("CHAT_PASSWORD")?);
//! let credentials = Credentials::Password { account, secret, fresh: false };
//! let address: chat_core::client::ServerAddress = "127.0.0.1:7400".parse()?;
//! let mut options = ClientOptions::new([address], credentials);
//! options.trust = Trust::AcceptNew;
//! let client = Client::connect(options, FileStore::open("echo-bot", "known_hosts")?).await?;
//!
//! let mut events = client.events().expect("the first call");
//! while let Some(received) = events.next().await {
//!     if let ClientEvent::Event(delivery) = &received.event
//!         && let EventBody::Message(message) = &delivery.body
//!         && !delivery.is_from_this_device
//!     {
//!         client.send_text(delivery.conversation.id, &message.text).await?;
//!     }
//!     received.done();
//! }
//! # Ok(())
//! # }
//! ```

#[cfg(not(feature = "unstable"))]
mod machine;
#[cfg(feature = "unstable")]
pub mod machine;

#[cfg(feature = "client")]
mod address;
#[cfg(feature = "client")]
mod commands;
#[cfg(feature = "client")]
mod connect;
#[cfg(feature = "client")]
mod connection;
#[cfg(feature = "client")]
mod discover;
#[cfg(feature = "client")]
mod driver;
mod error;
mod event;
#[cfg(feature = "client")]
mod events;
#[cfg(feature = "client")]
mod handle;
mod ids;
mod known;
mod message_id;
#[cfg(feature = "client")]
mod options;
#[cfg(feature = "client")]
mod plain;
#[cfg(feature = "client")]
mod reconnect;
#[cfg(feature = "client")]
mod scheme_probe;
#[cfg(feature = "client")]
mod shared;
mod store;
#[cfg(feature = "client")]
mod validate;

pub use crate::codec::Failure;
pub use crate::model::{Cursor, EventIdentity};
#[cfg(feature = "client")]
pub use address::{DEFAULT_PORT, Dial, Endpoint, InvalidAddress, Scheme, ServerAddress};
#[cfg(feature = "client")]
pub use discover::discover;
pub use error::ClientError;
pub use event::{ClientEvent, Delivery, SendOutcome};
#[cfg(feature = "client")]
pub use events::{Events, Received};
#[cfg(feature = "client")]
pub use handle::{Client, SendHandle};
pub use machine::{Credentials, Receive};
#[cfg(feature = "client")]
pub use options::{ClientOptions, FirstContact};
#[cfg(feature = "client")]
pub use shared::Status;
#[cfg(feature = "client")]
pub use store::FileStore;
pub use store::{AccountState, ClientStore, ClientStoreError, KnownGroups, MemoryStore, OutboxEntry, SavedState};
