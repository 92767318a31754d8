//! Arguments of `friend …`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum FriendCommand {
    /// Send a friend request, or accept the request from this user
    Add {
        /// User name or id
        #[arg(value_name = "USER")]
        who: String,
        /// Text sent with the request
        #[arg(long, default_value = "", value_name = "TEXT")]
        note: String,
    },
    /// Accept a friend request
    Accept(User),
    /// Decline a friend request
    Decline(User),
    /// End a friendship, or withdraw a request
    Remove(User),
    /// List friends, requests and blocked users
    List,
    /// Block a user, and end the friendship
    Block(User),
    /// Unblock a user
    Unblock(User),
}

#[derive(Debug, Args)]
pub(crate) struct User {
    /// User name or id
    // The field is not named `user`, because a global option has that id.
    #[arg(value_name = "USER")]
    pub(crate) who: String,
}
