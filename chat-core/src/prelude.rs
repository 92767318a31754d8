//! Types, traits and the macro `async_trait` that most programs with an engine or a client need.
//! Import them with `use chat_core::prelude::*;`.

pub use crate::async_trait;
#[cfg(feature = "client")]
pub use crate::client::{Client, ClientOptions, FileStore, ServerAddress};
pub use crate::client::{ClientError, ClientEvent, Credentials};
pub use crate::commands::{Commands, JoinOutcome};
#[cfg(feature = "server")]
pub use crate::engine::operator::{CreateAccount, Operator, OperatorActingAs, OperatorName};
#[cfg(feature = "server")]
pub use crate::engine::{
    ActingAs, CommandError, Engine, EngineConfig, Feed, FeedError, FeedItem, FeedOptions, LocalSession,
};
#[cfg(feature = "server")]
pub use crate::hooks::{AppendContext, AppendTarget, Hooks, Verdict};
pub use crate::model::{
    Appended, ClientMessageId, ConversationId, ConversationInfo, ConversationRef, ConversationView, DeviceId,
    DisplayName, Draft, Event, EventBody, GroupChanges, GroupName, JoinPolicy, MessageText, NewGroup, Note, Page,
    ProfileChanges, Push, Registration, ReplyCode, Role, Secret, Seq, Source, UserId, UserInfo, UserName, UserRef,
};
#[cfg(feature = "server")]
pub use crate::server::Server;
