//! Configuration of a machine, and the actions that it asks for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::client::{ClientError, Cursor, SendOutcome};
use crate::codec::{LoggedIn, Request};
use crate::model::{
    ClientMessageId, ConversationId, ConversationInfo, ConversationRef, DeviceId, Outcome, Registration, Secret,
    SessionTokens, StoreEpoch, UserId, UserRef,
};

/// Credentials by which a client logs in.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the variant describes its fields")]
pub enum Credentials {
    /// Stored session token of an earlier login on this device.
    Stored,
    /// Password of an account. If this device has a stored session token, the client resumes that
    /// session instead, unless `fresh` is set.
    Password {
        account: UserRef,
        /// Password, or a token that the server's authenticator accepts for this account.
        secret: Secret,
        /// True to log in with the password even if there is a session token.
        fresh: bool,
    },
    /// Token from which the server's authenticator knows the user, such as a JWT of an application.
    /// If this device has a stored session token, the client resumes that session instead, unless
    /// `fresh` is set.
    Token {
        token: Secret,
        /// True to log in with the token even if there is a session token.
        fresh: bool,
    },
    /// Registration of a new account. The client then logs in to that account.
    Register(Registration),
}

/// Events of the server that a client delivers. Events about the client itself, such as
/// [`Connected`](crate::client::ClientEvent::Connected), are not affected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Receive {
    /// No events: the application only runs commands and sends messages.
    Nothing,
    /// Events that the application has not acknowledged.
    #[default]
    FromCursor,
    /// Every event that the user may read.
    FromBeginning,
}

/// Initial state of a machine.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// Name and version of the program.
    pub client_name: String,
    /// Id of this device.
    pub device: DeviceId,
    /// Name of this device in the user's list of devices.
    pub device_name: String,
    /// Credentials to log in with.
    pub credentials: Credentials,
    /// User and session token of an earlier login.
    pub session: Option<(UserId, Secret)>,
    /// Device token of an earlier login.
    pub device_token: Option<Secret>,
    /// User of the earlier login that `store_epoch` and `cursors` are from.
    pub user: Option<UserId>,
    /// Store epoch that `cursors` belong to.
    pub store_epoch: Option<StoreEpoch>,
    /// Acknowledged position of each conversation.
    pub cursors: BTreeMap<ConversationId, Cursor>,
    /// Events to deliver.
    pub receive: Receive,
    /// Maximum number of messages of one conversation that wait for the server's reply.
    pub max_in_flight: usize,
}

/// Action for the driver, which must perform actions in the order in which the machine returns
/// them.
#[derive(Debug)]
#[allow(missing_docs, reason = "the variant describes its fields")]
pub enum Action {
    /// Send a request.
    Send(Request),
    /// A session started: save its user, tokens and store epoch.
    LoggedIn(Box<LoggedIn>),
    /// The client knows the conversations of the user: forget the names of groups that earlier runs
    /// saved.
    Listed,
    /// The client knows the conversations of the user, or has waited long enough for the list of
    /// them: report to the application that the client is online.
    Online,
    /// The session has new tokens: save them.
    TokensChanged(SessionTokens),
    /// The session token is no longer valid: delete it.
    ForgetSession,
    /// The server's store was replaced: delete all cursors, conversations and names. The action
    /// [`LoggedIn`](Self::LoggedIn), which follows, saves the new epoch.
    StoreReplaced(StoreEpoch),
    /// Save the cursors of these conversations. Those of other conversations stay.
    SaveCursors(BTreeMap<ConversationId, Cursor>),
    /// A conversation changed: replace the known information about it.
    Conversation(Arc<ConversationInfo>),
    /// A message of the outbox has its outcome.
    Settle {
        /// Idempotency key of the message.
        id: ClientMessageId,
        /// Conversation of the message.
        conversation: ConversationRef,
        /// Outcome of the message.
        outcome: SendOutcome,
    },
    /// A command has its result.
    Finish {
        /// Id that was passed to [`Machine::execute`](super::Machine::execute).
        command_id: u64,
        /// Result of the command.
        result: Result<Outcome, ClientError>,
    },
    /// Close the connection and open another one.
    Reconnect {
        reason: ClientError,
        /// Minimum delay before the next attempt, if the server gave one.
        after: Option<Duration>,
    },
    /// Close the connection and do not reconnect.
    End(ClientError),
}
