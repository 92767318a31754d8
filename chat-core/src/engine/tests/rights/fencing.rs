//! Tests that a session which was replaced or revoked changes nothing.

use super::*;

/// Returns whether the unit of work of a command refuses it unless the caller's session is the
/// latest of the device. Other commands have no unit of work; [`super::super::fencing`] tests that
/// ended sessions cannot execute them.
fn is_fenced(kind: Kind) -> bool {
    match kind {
        Kind::Logout
        | Kind::ChangePassword
        | Kind::RevokeDevice
        | Kind::UpdateProfile
        | Kind::RequestFriend
        | Kind::AnswerFriend
        | Kind::RemoveFriend
        | Kind::Block
        | Kind::Unblock
        | Kind::CreateGroup
        | Kind::JoinGroup
        | Kind::AnswerJoin
        | Kind::InviteMember
        | Kind::DeclineInvitation
        | Kind::LeaveGroup
        | Kind::DeleteGroup
        | Kind::KickMember
        | Kind::UnbanMember
        | Kind::MuteMember
        | Kind::SetRole
        | Kind::TransferOwnership
        | Kind::UpdateGroup
        | Kind::Send => true,
        Kind::ListDevices
        | Kind::SetPresence
        | Kind::SearchUsers
        | Kind::GetUsers
        | Kind::ListContacts
        | Kind::SearchGroups
        | Kind::ListMembers
        | Kind::ListConversations
        | Kind::GetConversation
        | Kind::ReadHistory
        | Kind::Acknowledge
        | Kind::MarkRead
        | Kind::Typing => false,
    }
}

/// A session changes nothing after a newer login of its device, also if the device was revoked
/// first.
#[tokio::test]
async fn every_change_is_fenced() {
    let mut tried = HashSet::new();
    for row in group_rows() {
        for revoked in [false, true] {
            let fixture = GroupFixture::build(row.policy, row.unlisted).await;
            let owner = fixture.session(GroupRelation::Owner).caller();
            let command = (row.command)(&fixture, GroupRelation::Owner);
            tried.extend(assert_fenced(&fixture.engine, owner, command, revoked).await);
        }
    }
    for (_, command, _) in user_rows() {
        for revoked in [false, true] {
            let pair = PairFixture::build(Relation::Friend).await;
            let command = command(&pair);
            tried.extend(assert_fenced(&pair.engine, pair.me.caller(), command, revoked).await);
        }
    }
    let missing: Vec<_> = ALL_KINDS
        .iter()
        .filter(|kind| is_fenced(**kind) && !tried.contains(*kind))
        .collect();
    assert!(missing.is_empty(), "not tried: {missing:?}");
}

/// Executes a fenced command after a newer login of the caller's device, which was revoked before
/// if `revoked` is set, and asserts that the command is refused. Returns the kind of the command.
/// Does nothing and returns `None` if the command is not fenced.
async fn assert_fenced(engine: &Engine, caller: Caller, command: Command, revoked: bool) -> Option<Kind> {
    let kind = kind(&command);
    if !is_fenced(kind) {
        return None;
    }
    if revoked {
        let device = caller.device().unwrap();
        engine.execute(caller, Command::RevokeDevice(device)).await.unwrap();
    }
    let _newer = engine.session(caller.user, caller.device().unwrap()).await.unwrap();
    let result = engine.execute(caller, command).await;
    assert_eq!(result.map_err(|error| error.code), Err(ReplyCode::Fenced), "{kind:?}");
    Some(kind)
}
