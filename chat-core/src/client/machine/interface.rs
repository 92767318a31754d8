//! What a machine is made from, and what it asks for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::client::{ClientError, Cursor, SendOutcome};
use crate::codec::{LoggedIn, Request};
use crate::model::{
    ClientMessageId, ConversationId, ConversationInfo, ConversationRef, DeviceId, Outcome, Registration, Secret,
    SessionTokens, StoreEpoch, UserId, UserRef,
};

/// How a user is logged in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credentials {
    /// With what an earlier login left on this device.
    Stored,
    /// With the password; what an earlier login left is used first.
    Password {
        /// Whose.
        account: UserRef,
        /// Password, or a token of the application's.
        secret: Secret,
        /// Log in with the password even if an earlier login left a token.
        fresh: bool,
    },
    /// Makes the account first.
    Register(Registration),
}

/// What the application wants to be handed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Receive {
    /// Nothing: only commands are given.
    Nothing,
    /// What it has not acknowledged yet.
    #[default]
    FromCursor,
    /// Every log from its first readable event.
    FromBeginning,
}

/// What a machine starts from.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// Name and version of the program.
    pub client: String,
    /// This device.
    pub device: DeviceId,
    /// What the user's list of devices calls it.
    pub device_name: String,
    /// How to log in.
    pub credentials: Credentials,
    /// Left by an earlier login.
    pub session: Option<(UserId, Secret)>,
    /// Left by an earlier login.
    pub device_token: Option<Secret>,
    /// The history that `cursors` are about.
    pub epoch: Option<StoreEpoch>,
    /// What the application has acknowledged.
    pub cursors: BTreeMap<ConversationId, Cursor>,
    /// What to hand out.
    pub receive: Receive,
    /// Messages of one conversation under way at once.
    pub window: usize,
}

/// What the driver has to do, in this order.
#[derive(Debug)]
pub enum Action {
    /// Send a request.
    Send(Request),
    /// A session began: keep its tokens.
    LoggedIn(Box<LoggedIn>),
    /// The session goes on with other tokens: keep these.
    TokensChanged(SessionTokens),
    /// The session token is void: forget it.
    ForgetSession,
    /// The history is another one: forget cursors, and keep its name.
    HistoryReset(StoreEpoch),
    /// Keep these cursors.
    SaveCursors(BTreeMap<ConversationId, Cursor>),
    /// A conversation changed.
    Conversation(Arc<ConversationInfo>),
    /// A message of the outbox has its outcome.
    Settle {
        /// Which.
        id: ClientMessageId,
        /// Where it was to go.
        conversation: ConversationRef,
        /// How it ended.
        outcome: SendOutcome,
    },
    /// A command has its outcome.
    Finish {
        /// The number that [`Machine::execute`](super::Machine::execute) was given.
        token: u64,
        /// How it ended.
        result: Result<Outcome, ClientError>,
    },
    /// Close the connection, and open another one.
    Reconnect {
        /// Why.
        reason: ClientError,
        /// Not before so long.
        after: Option<Duration>,
    },
    /// Close the connection for good.
    End(ClientError),
}
