//! The commands `friend …`.

use chat_core::commands::Commands;
use chat_core::model::{Command, Note};

use crate::args::{FriendCommand, user_ref};
use crate::command_client::CommandClient;
use crate::failure::Failure;
use crate::output::{ContactLine, DoneLine, Output};

pub(super) async fn friend(client: &CommandClient, command: FriendCommand, output: &mut Output) -> Result<(), Failure> {
    let (done, text, command) = match command {
        FriendCommand::List => return list(client, output).await,
        FriendCommand::Add { who, note } => {
            let note = Note::new(note).map_err(Failure::usage)?;
            let text = format!("friend request sent to {who}, or accepted if {who} had sent one");
            (
                "add",
                text,
                Command::RequestFriend {
                    user: user_ref(&who)?,
                    note,
                },
            )
        }
        FriendCommand::Accept(args) => {
            let text = format!("{} is your friend now", args.who);
            let user = user_ref(&args.who)?;
            ("accept", text, Command::AnswerFriend { user, accept: true })
        }
        FriendCommand::Decline(args) => {
            let user = user_ref(&args.who)?;
            (
                "decline",
                "friend request declined".to_owned(),
                Command::AnswerFriend { user, accept: false },
            )
        }
        FriendCommand::Remove(args) => (
            "remove",
            "friendship ended, or request withdrawn".to_owned(),
            Command::RemoveFriend(user_ref(&args.who)?),
        ),
        FriendCommand::Block(args) => (
            "block",
            format!("{} is blocked", args.who),
            Command::Block(user_ref(&args.who)?),
        ),
        FriendCommand::Unblock(args) => (
            "unblock",
            format!("{} is no longer blocked", args.who),
            Command::Unblock(user_ref(&args.who)?),
        ),
    };
    client.execute(command).await?;
    output.print(&DoneLine::new(done, text))
}

async fn list(client: &CommandClient, output: &mut Output) -> Result<(), Failure> {
    let contacts = client.contacts().await?;
    output.print_list(contacts.iter().map(ContactLine::from))
}
