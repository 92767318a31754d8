//! friend …

use chat_core::client::Client;
use chat_core::model::{Command, Note, Outcome};

use crate::args::{FriendCommand, user_ref};
use crate::failure::Failure;
use crate::output::{ContactLine, DoneLine, Output};

use super::unexpected;

pub(super) async fn friend(client: &Client, command: FriendCommand, output: &mut Output) -> Result<(), Failure> {
    let (done, words, command) = match command {
        FriendCommand::List => return list(client, output).await,
        FriendCommand::Add { user, note } => {
            let note = Note::new(note).map_err(Failure::usage)?;
            let words = format!("asked {user}");
            (
                "add",
                words,
                Command::RequestFriend {
                    user: user_ref(&user)?,
                    note,
                },
            )
        }
        FriendCommand::Accept(who) => {
            let words = format!("{} is your friend now", who.user);
            let user = user_ref(&who.user)?;
            ("accept", words, Command::AnswerFriend { user, accept: true })
        }
        FriendCommand::Decline(who) => {
            let user = user_ref(&who.user)?;
            (
                "decline",
                "declined".to_owned(),
                Command::AnswerFriend { user, accept: false },
            )
        }
        FriendCommand::Remove(who) => (
            "remove",
            "removed".to_owned(),
            Command::RemoveFriend(user_ref(&who.user)?),
        ),
        FriendCommand::Block(who) => (
            "block",
            format!("{} is blocked", who.user),
            Command::Block(user_ref(&who.user)?),
        ),
        FriendCommand::Unblock(who) => (
            "unblock",
            format!("{} is not blocked any more", who.user),
            Command::Unblock(user_ref(&who.user)?),
        ),
    };
    client.execute(command).await?;
    output.print(&DoneLine::new(done, words))
}

async fn list(client: &Client, output: &mut Output) -> Result<(), Failure> {
    match client.execute(Command::ListContacts).await? {
        Outcome::Contacts(contacts) => contacts
            .iter()
            .try_for_each(|contact| output.print(&ContactLine::from(contact))),
        other => Err(unexpected(&other)),
    }
}
