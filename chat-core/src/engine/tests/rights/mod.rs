//! Tables of rights, one about groups and one about users: one or more rows for every command, a
//! column for every relation of the caller to the group or user. Each cell is tested on an engine.
//!
//! A command without a row fails [`every_command_has_a_row`]; a command that `kinds!` does not list
//! is a compile error.

mod fencing;
mod groups;
mod users;
mod views;

use std::collections::HashSet;

use self::groups::{GroupFixture, GroupRelation, group_rows};
use self::users::{PairFixture, Relation, user_rows};
use super::support::*;
use crate::commands::Commands;
use crate::engine::{Engine, LocalSession};
use crate::model::*;

/// Declares `Kind`, the kinds of these commands, `ALL_KINDS`, and `kind`, which returns the kind of
/// a command.
macro_rules! kinds {
    ($($name:ident)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        enum Kind { $($name,)* }

        const ALL_KINDS: &[Kind] = &[$(Kind::$name,)*];

        fn kind(command: &Command) -> Kind {
            match command { $(Command::$name { .. } => Kind::$name,)* }
        }
    };
}

kinds! {
    Logout ChangePassword ListDevices RevokeDevice UpdateProfile SetPresence
    SearchUsers GetUsers RequestFriend AnswerFriend RemoveFriend Block Unblock ListContacts
    CreateGroup SearchGroups JoinGroup AnswerJoin InviteMember DeclineInvitation LeaveGroup DeleteGroup KickMember
    UnbanMember MuteMember SetRole TransferOwnership UpdateGroup ListMembers
    Send ListConversations GetConversation ReadHistory Acknowledge MarkRead Typing
}

/// Expected result: success, or an error with this code.
type Expect = Option<ReplyCode>;
const OK: Expect = None;
const ABSENT: Expect = Some(ReplyCode::NotFound);
const NO: Expect = Some(ReplyCode::Forbidden);
const MUTED: Expect = Some(ReplyCode::Muted);
const NOT_FRIENDS: Expect = Some(ReplyCode::NotFriends);

/// A new command needs a row in one of the tables, so that its rights are decided explicitly.
#[tokio::test]
async fn every_command_has_a_row() {
    let fixture = GroupFixture::build(JoinPolicy::Open, false).await;
    let pair = PairFixture::build(Relation::Friend).await;
    let mut covered: HashSet<Kind> = HashSet::new();
    covered.extend(
        group_rows()
            .iter()
            .map(|row| kind(&(row.command)(&fixture, GroupRelation::Member))),
    );
    covered.extend(user_rows().iter().map(|(_, command, _)| kind(&command(&pair))));
    let missing: Vec<_> = ALL_KINDS.iter().filter(|kind| !covered.contains(kind)).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}
