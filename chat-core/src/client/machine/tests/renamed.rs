//! Tests of commands that address a group by a name which it may lose.

use super::script::*;
use crate::client::ClientError;
use crate::client::machine::Action;
use crate::codec::RequestKind;
use crate::model::{Command, ConversationRef, GroupChanges, GroupName, Role, UserRef};

fn by_name(name: &str) -> ConversationRef {
    ConversationRef::Group(GroupName::parse(name).unwrap())
}

fn rename(group: ConversationRef) -> Command {
    Command::UpdateGroup {
        group,
        changes: GroupChanges {
            name: Some(GroupName::parse("new").unwrap()),
            ..GroupChanges::default()
        },
    }
}

fn set_role(group: ConversationRef) -> Command {
    Command::SetRole {
        group,
        user: UserRef::Id(OTHER),
        role: Role::Admin,
    }
}

/// Takes the command that changes a group, and returns the group.
fn take_changed_group(script: &mut Script) -> Option<ConversationRef> {
    let is_change = |kind: &RequestKind| {
        matches!(
            kind,
            RequestKind::Command(Command::UpdateGroup { .. } | Command::SetRole { .. })
        )
    };
    match script.try_take(is_change)?.kind {
        RequestKind::Command(Command::UpdateGroup { group, .. } | Command::SetRole { group, .. }) => Some(group),
        _ => None,
    }
}

#[test]
fn change_of_a_known_group_is_addressed_and_repeated_by_id() {
    for change in [rename, set_role] {
        let mut script = Script::new(config());
        script.machine.execute(script.now, 1, change(by_name("Room")));
        script.log_in(EPOCH, vec![group_info(0, 0)]);
        assert_eq!(take_changed_group(&mut script), Some(ConversationRef::Id(GROUP_ID)));
        script.machine.disconnected(script.now);
        script.sent.clear();
        script.log_in(EPOCH, vec![group_info(0, 0)]);
        assert_eq!(take_changed_group(&mut script), Some(ConversationRef::Id(GROUP_ID)));
    }
}

#[test]
fn change_of_an_unknown_group_is_not_repeated() {
    for change in [rename, set_role] {
        let mut script = Script::online(config(), vec![group_info(0, 0)]);
        script.machine.execute(script.now, 1, change(by_name("other")));
        assert_eq!(take_changed_group(&mut script), Some(by_name("other")));
        script.machine.disconnected(script.now);
        script.drain();
        let interrupted = |action: &Action| {
            matches!(
                action,
                Action::Finish {
                    result: Err(ClientError::Interrupted),
                    ..
                }
            )
        };
        assert!(script.actions.iter().any(interrupted));
        script.sent.clear();
        script.log_in(EPOCH, vec![group_info(0, 0)]);
        assert_eq!(take_changed_group(&mut script), None);
    }
}
