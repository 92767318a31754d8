//! Tests of waiting messages and commands that contain ids when the operator of the server has
//! restored a backup: the server may have assigned these ids again.

use std::collections::BTreeMap;

use super::script::*;
use crate::client::machine::{Action, Outgoing};
use crate::client::{ClientError, ClientEvent, SendOutcome, message_id};
use crate::codec::RequestKind;
use crate::model::{
    ClientMessageId, Command, ConversationId, ConversationInfo, ConversationRef, ConversationView, DraftContent, Emoji,
    GroupName, MessageText, Outcome, Seq, StoreEpoch, UserId, UserName, UserRef,
};

const RESTORED: StoreEpoch = StoreEpoch([2; 16]);

fn bob() -> ConversationRef {
    ConversationRef::Direct(UserRef::Name(UserName::parse("bob").unwrap()))
}

fn room() -> ConversationRef {
    ConversationRef::Group(GroupName::parse("room").unwrap())
}

/// Returns the direct conversation with a user, under the id [`GROUP_ID`].
fn direct_info(peer: &str) -> ConversationInfo {
    let mut info = group_info(0, 0);
    info.view = ConversationView::Direct(user(OTHER, peer));
    info
}

/// Returns a message that is addressed by the id [`GROUP_ID`]. `name` is the known name of its
/// conversation.
fn resolved(name: Option<ConversationRef>, content: DraftContent) -> Outgoing {
    Outgoing {
        name,
        content,
        ..outgoing(message_id::new_id(DEVICE), "a")
    }
}

fn text() -> DraftContent {
    DraftContent::text(MessageText::new("a").unwrap())
}

fn reply(mentions: Vec<UserId>, reply_to: Option<Seq>) -> DraftContent {
    DraftContent::Message {
        text: MessageText::new("a").unwrap(),
        reply_to,
        mentions,
        mention_all: false,
    }
}

/// Takes the sent messages, and the conversations that they are addressed to.
fn sent(script: &mut Script) -> Vec<(ClientMessageId, ConversationRef)> {
    let take = || {
        let request = script.try_take(|kind| matches!(kind, RequestKind::Command(Command::Send { .. })))?;
        match request.kind {
            RequestKind::Command(Command::Send { conversation, draft }) => {
                Some((draft.client_message_id, conversation))
            }
            other => panic!("{other:?}"),
        }
    };
    std::iter::from_fn(take).collect()
}

/// Takes the rejected messages and the conversations that they are reported for.
fn rejected(script: &mut Script) -> BTreeMap<ClientMessageId, ConversationRef> {
    script.drain();
    let actions = std::mem::take(&mut script.actions).into_iter();
    let rejected = actions.filter_map(|action| match action {
        Action::Settle {
            id,
            conversation,
            outcome: SendOutcome::NotStored(ClientError::StoreReplaced),
        } => Some((id, conversation)),
        _ => None,
    });
    rejected.collect()
}

#[test]
fn message_whose_conversation_has_a_known_name_is_addressed_by_it() {
    for conversations in [vec![direct_info("bob")], Vec::new()] {
        let mut script = Script::online(config(), conversations);
        script.machine.disconnected(script.now);
        let messages = [resolved(Some(bob()), text()), resolved(Some(bob()), text())];
        for message in messages.clone() {
            script.machine.send(script.now, message);
        }
        // The id belongs to the conversation with eve now.
        script.log_in(RESTORED, vec![direct_info("eve")]);
        assert_eq!(sent(&mut script), [(messages[0].id, bob())], "one at a time");
        assert_eq!(script.machine.unsettled(), 2);
        assert!(rejected(&mut script).is_empty());
    }
}

#[test]
fn outbox_of_an_earlier_run_is_checked_although_the_epoch_is_known_already() {
    let mut config = config();
    config.store_epoch = Some(RESTORED);
    let mut script = Script::new(config);
    let [by_name, by_id] = [resolved(Some(room()), text()), resolved(None, text())];
    for message in [by_name.clone(), by_id.clone()] {
        script.machine.send(script.now, message);
    }
    script.log_in(RESTORED, vec![direct_info("eve")]);
    assert_eq!(sent(&mut script), [(by_name.id, room())]);
    assert!(rejected(&mut script).into_keys().eq([by_id.id]));
    let events = script.events().into_iter();
    assert_eq!(
        events
            .filter(|event| matches!(event, ClientEvent::StoreReplaced))
            .count(),
        0
    );
}

#[test]
fn content_with_ids_is_rejected_under_the_name_of_its_conversation() {
    let target = Seq(3);
    let contents = [
        DraftContent::Recall { target },
        DraftContent::Edit {
            target,
            text: MessageText::new("b").unwrap(),
        },
        DraftContent::React {
            target,
            emoji: Emoji::new("👍").unwrap(),
            remove: false,
        },
        reply(Vec::new(), Some(target)),
        reply(vec![OTHER], None),
    ];
    let mut script = Script::new(config());
    let messages = contents.map(|content| resolved(Some(bob()), content));
    for message in messages.clone() {
        script.machine.send(script.now, message);
    }
    script.log_in(RESTORED, vec![direct_info("eve")]);
    assert!(sent(&mut script).is_empty());
    let expected: BTreeMap<_, _> = messages.map(|message| (message.id, bob())).into();
    assert_eq!(rejected(&mut script), expected);
    assert_eq!(script.machine.unsettled(), 0);
}

#[test]
fn message_to_a_group_that_was_renamed_is_rejected() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    script.machine.disconnected(script.now);
    let old = ConversationRef::Group(GroupName::parse("old-name").unwrap());
    let [renamed, same] = [resolved(Some(old), text()), resolved(Some(room()), text())];
    for message in [renamed.clone(), same.clone()] {
        script.machine.send(script.now, message);
    }
    script.log_in(RESTORED, Vec::new());
    assert_eq!(sent(&mut script), [(same.id, room())]);
    assert!(rejected(&mut script).into_keys().eq([renamed.id]));
}

/// An outbox entry of an earlier version has no epoch; the server may have been restored since.
#[test]
fn message_by_id_without_an_epoch_is_sent_only_if_the_device_never_logged_in() {
    for (known, is_sent) in [(None, true), (Some(EPOCH), false)] {
        let mut config = config();
        config.store_epoch = known;
        let mut script = Script::new(config);
        let by_id = Outgoing {
            store_epoch: None,
            ..resolved(None, text())
        };
        let by_name = Outgoing {
            conversation: bob(),
            ..by_id.clone()
        };
        let by_name = Outgoing {
            id: ClientMessageId::random(),
            ..by_name
        };
        for message in [by_id.clone(), by_name.clone()] {
            script.machine.send(script.now, message);
        }
        script.log_in(EPOCH, Vec::new());
        let ids: Vec<_> = sent(&mut script).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids.contains(&by_id.id), is_sent, "{known:?}");
        assert!(ids.contains(&by_name.id), "{known:?}");
        assert_eq!(rejected(&mut script).contains_key(&by_id.id), !is_sent, "{known:?}");
    }
}

#[test]
fn message_by_id_of_another_epoch_is_refused_in_a_session() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    let stale = Outgoing {
        store_epoch: Some(RESTORED),
        ..resolved(None, text())
    };
    script.machine.send(script.now, stale.clone());
    assert!(sent(&mut script).is_empty());
    assert!(rejected(&mut script).into_keys().eq([stale.id]));
}

#[test]
fn waiting_commands_continue_by_name_or_end() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    script.machine.disconnected(script.now);
    let name = UserRef::Name(UserName::parse("bob").unwrap());
    let group = || ConversationRef::Id(GROUP_ID);
    let commands = [
        Command::InviteMember {
            group: group(),
            user: name.clone(),
        },
        Command::InviteMember {
            group: group(),
            user: UserRef::Id(OTHER),
        },
        Command::LeaveGroup(ConversationRef::Id(ConversationId(77))),
        Command::MarkRead {
            conversation: GROUP_ID,
            seq: Seq(1),
        },
        Command::Block(UserRef::Id(OTHER)),
        Command::Block(name.clone()),
        Command::ListContacts {
            after: UserId(0),
            limit: 9,
        },
        Command::ListContacts { after: OTHER, limit: 9 },
    ];
    for (command_id, command) in (0..).zip(commands) {
        script.machine.execute(script.now, command_id, command);
    }
    script.log_in(RESTORED, vec![direct_info("eve")]);
    script.drain();
    let finished: Vec<_> = std::mem::take(&mut script.actions)
        .into_iter()
        .filter_map(|action| match action {
            Action::Finish {
                command_id,
                result: Err(ClientError::StoreReplaced),
            } => Some(command_id),
            _ => None,
        })
        .collect();
    assert_eq!(finished, [1, 2, 3, 4, 7]);
    let invited = script.try_take(|kind| matches!(kind, RequestKind::Command(Command::InviteMember { .. })));
    let RequestKind::Command(Command::InviteMember { group, user }) = invited.unwrap().kind else {
        unreachable!()
    };
    assert_eq!((group, user), (room(), name));
    script.take(|kind| matches!(kind, RequestKind::Command(Command::Block(UserRef::Name(_)))));
    script.take(|kind| matches!(kind, RequestKind::Command(Command::ListContacts { .. })));
}

#[test]
fn command_whose_answer_was_lost_is_repeated_by_name() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    let group = ConversationRef::Id(GROUP_ID);
    let after = UserId(0);
    let command = Command::ListMembers { group, after, limit: 9 };
    script.machine.execute(script.now, 1, command);
    let is_list = |kind: &RequestKind| matches!(kind, RequestKind::Command(Command::ListMembers { .. }));
    script.take(is_list);
    script.machine.disconnected(script.now);
    script.log_in(RESTORED, vec![direct_info("eve")]);
    let Some(RequestKind::Command(Command::ListMembers { group, .. })) =
        script.try_take(is_list).map(|found| found.kind)
    else {
        panic!("the command is repeated")
    };
    assert_eq!(group, room());
}

#[test]
fn reference_learned_in_the_replaced_epoch_is_forgotten() {
    let mut script = Script::online(config(), vec![direct_info("bob")]);
    script.machine.disconnected(script.now);
    script.log_in(RESTORED, vec![direct_info("eve")]);
    let message = Outgoing {
        conversation: bob(),
        name: Some(bob()),
        store_epoch: Some(RESTORED),
        ..resolved(None, text())
    };
    script.machine.send(script.now, message.clone());
    assert_eq!(sent(&mut script), [(message.id, bob())]);
    assert!(
        !script
            .machine
            .is_same_conversation(&bob(), &ConversationRef::Id(GROUP_ID))
    );
}

/// After a login, a waiting message to a name is addressed by the id that the name has; after a
/// restore, by the name again.
#[test]
fn message_by_name_survives_two_restores() {
    let mut script = Script::new(config());
    let message = Outgoing {
        conversation: bob(),
        name: None,
        store_epoch: None,
        ..resolved(None, text())
    };
    script.machine.send(script.now, message.clone());
    script.log_in(EPOCH, vec![direct_info("bob")]);
    assert_eq!(sent(&mut script), [(message.id, ConversationRef::Id(GROUP_ID))]);
    script.machine.disconnected(script.now);
    script.log_in(RESTORED, vec![direct_info("eve")]);
    assert_eq!(sent(&mut script), [(message.id, bob())]);
    script.machine.disconnected(script.now);
    script.log_in(EPOCH, vec![direct_info("bob")]);
    let (request, _) = {
        let request = script
            .try_take(|kind| matches!(kind, RequestKind::Command(Command::Send { .. })))
            .unwrap();
        (request.id, request.kind)
    };
    script.outcome(
        request,
        Outcome::Appended(crate::model::Appended {
            conversation: GROUP_ID,
            seq: Seq(1),
            event_id: crate::model::EventId([1; 16]),
            time: crate::model::Timestamp(1),
            duplicate: false,
        }),
    );
    assert_eq!(script.machine.unsettled(), 0);
}
