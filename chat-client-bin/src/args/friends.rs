//! `friend …`

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum FriendCommand {
    /// Ask somebody to be a friend, or accept their request
    Add {
        /// Name or id
        #[arg(value_name = "USER")]
        who: String,
        /// Words that go with the request
        #[arg(long, default_value = "", value_name = "TEXT")]
        note: String,
    },
    /// Accept a request
    Accept(User),
    /// Decline a request
    Decline(User),
    /// End a friendship, or take a request back
    Remove(User),
    /// List friends, requests and blocked users
    List,
    /// Refuse everything from a user, and end the friendship
    Block(User),
    /// Undo a block
    Unblock(User),
}

#[derive(Debug, Args)]
pub(crate) struct User {
    /// Name or id
    // Not `user`: that is the global option.
    #[arg(value_name = "USER")]
    pub(crate) who: String,
}
