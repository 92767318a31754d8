//! Tests of the outbox: order, retries, and exactly one outcome for each message.

use std::time::Duration;

use super::script::*;
use crate::client::machine::{Action, Outgoing};
use crate::client::{ClientEvent, SendOutcome, message_id};
use crate::codec::{Request, RequestKind};
use crate::model::{
    Appended, ClientMessageId, Command, ConversationId, ConversationRef, EventId, GroupName, Outcome, Push, ReplyCode,
    Seq, Timestamp, UserName, UserRef,
};

fn appended(seq: u64) -> Outcome {
    Outcome::Appended(Appended {
        conversation: GROUP_ID,
        seq: Seq(seq),
        event_id: EventId([1; 16]),
        time: Timestamp(1),
        duplicate: false,
    })
}

/// Takes the outcomes that the machine has reported.
fn settled(script: &mut Script) -> Vec<(ClientMessageId, SendOutcome)> {
    script.drain();
    let actions = std::mem::take(&mut script.actions).into_iter();
    let settled = actions.filter_map(|action| match action {
        Action::Settle { id, outcome, .. } => Some((id, outcome)),
        _ => None,
    });
    settled.collect()
}

#[test]
fn reply_settles_its_message() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    let id = script.send("a");
    let (request, sent) = script.take_message().unwrap();
    assert_eq!(sent, id);
    script.outcome(request, appended(7));
    let settled = settled(&mut script);
    assert!(matches!(settled[..], [(found, SendOutcome::Stored(Appended { seq: Seq(7), .. }))] if found == id));
    assert_eq!(script.machine.unsettled(), 0);
}

#[test]
fn own_event_in_the_log_settles_its_message() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    let id = script.send("a");
    script.take_message().unwrap();
    script.push(Push::Event(event_of(1, ME, Some(id))));
    let settled = settled(&mut script);
    assert!(matches!(settled[..], [(found, SendOutcome::Stored(Appended { seq: Seq(1), .. }))] if found == id));
    let events = script.events();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, ClientEvent::Event(delivery) if delivery.is_from_this_device))
    );
}

#[test]
fn event_of_another_user_settles_nothing() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    let id = script.send("a");
    script.push(Push::Event(event_of(1, OTHER, Some(id))));
    assert!(settled(&mut script).is_empty());
}

#[test]
fn reply_after_the_own_event_is_ignored() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    let id = script.send("a");
    let (request, _) = script.take_message().unwrap();
    script.push(Push::Event(event_of(1, ME, Some(id))));
    script.outcome(request, appended(1));
    assert_eq!(settled(&mut script).len(), 1);
}

#[test]
fn lost_connection_resends_in_order_under_the_same_ids() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    let ids = ["a", "b", "c"].map(|text| script.send(text));
    script.take_message().unwrap();
    assert!(
        script.take_message().is_none(),
        "at most one message is in flight, which keeps the order"
    );
    script.machine.disconnected(script.now);
    script.log_in(EPOCH, vec![group_info(0, 0)]);
    for (at, id) in ids.iter().enumerate() {
        let (request, sent) = script.take_message().unwrap();
        assert_eq!(sent, *id);
        script.outcome(request, appended(at as u64 + 1));
    }
    assert_eq!(settled(&mut script).len(), 3);
}

#[test]
fn conversations_do_not_block_each_other() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    script.send("a");
    let mut other = outgoing(ClientMessageId::random(), "b");
    other.conversation = ConversationRef::Id(ConversationId(11));
    script.machine.send(script.now, other);
    assert!(script.take_message().is_some());
    assert!(script.take_message().is_some());
}

#[test]
fn second_message_with_a_used_key_is_ignored() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    let id = script.send("to the group");
    let mut other = outgoing(id, "elsewhere");
    other.conversation = ConversationRef::Id(ConversationId(77));
    script.machine.send(script.now, other);
    assert_eq!(script.machine.unsettled(), 1);
    let (request, sent) = script.take_message().unwrap();
    assert_eq!(sent, id);
    assert!(script.take_message().is_none());
    script.outcome(request, appended(1));
    assert_eq!(settled(&mut script).len(), 1);
    script.send("next");
    assert!(script.take_message().is_some());
}

#[test]
fn conversation_keeps_its_order_under_all_references() {
    let message_to = |conversation, text| {
        let mut message = outgoing(ClientMessageId::random(), text);
        message.conversation = conversation;
        message
    };
    let group = |name| ConversationRef::Group(GroupName::parse(name).unwrap());
    // Enqueued before the group is known, while another conversation waits too.
    let mut script = Script::new(config());
    let elsewhere = message_to(ConversationRef::Id(ConversationId(11)), "elsewhere");
    let messages = [
        message_to(group("Room"), "1"),
        message_to(ConversationRef::Id(GROUP_ID), "2"),
        message_to(group("room"), "3"),
        elsewhere.clone(),
        message_to(ConversationRef::Id(GROUP_ID), "4"),
    ];
    for message in messages.clone() {
        script.machine.send(script.now, message);
    }
    script.log_in(EPOCH, vec![group_info(0, 0)]);
    // Enqueued afterwards.
    let later = message_to(group("ROOM"), "5");
    script.machine.send(script.now, later.clone());
    let mut order = Vec::new();
    while let Some((request, id)) = script.take_message() {
        if id != elsewhere.id {
            order.push(id);
            script.outcome(request, appended(order.len() as u64));
        }
    }
    let written: Vec<_> = messages.into_iter().chain([later]).map(|message| message.id).collect();
    assert_eq!(order, [written[0], written[1], written[2], written[4], written[5]]);
    assert_eq!(script.machine.unsettled(), 1);
}

#[test]
fn reply_resolves_the_conversation_reference() {
    let mut script = Script::online(config(), Vec::new());
    let bob = || ConversationRef::Direct(UserRef::Name(UserName::parse("bob").unwrap()));
    let send = |script: &mut Script, conversation| {
        let mut message = outgoing(ClientMessageId::random(), "a");
        message.conversation = conversation;
        script.machine.send(script.now, message);
    };
    send(&mut script, bob());
    send(&mut script, bob());
    let (first, _) = script.take_message().unwrap();
    assert!(
        !script
            .machine
            .is_same_conversation(&bob(), &ConversationRef::Id(GROUP_ID))
    );
    script.outcome(first, appended(1));
    assert!(
        script
            .machine
            .is_same_conversation(&bob(), &ConversationRef::Id(GROUP_ID))
    );
    send(&mut script, ConversationRef::Id(GROUP_ID));
    assert!(script.take_message().is_some());
    assert!(
        script.take_message().is_none(),
        "the message follows the earlier messages to bob"
    );
}

#[test]
fn max_in_flight_allows_several_messages_at_once() {
    let mut config = config();
    config.max_in_flight = 8;
    let mut script = Script::online(config, vec![group_info(0, 0)]);
    for _ in 0..20 {
        script.send("a");
    }
    let in_flight = std::iter::from_fn(|| script.take_message()).count();
    assert_eq!(in_flight, 8);
}

#[test]
fn refusal_settles_and_the_next_message_is_sent() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    script.send("a");
    let next = script.send("b");
    let (request, _) = script.take_message().unwrap();
    script.refuse(request, ReplyCode::Muted);
    assert!(matches!(settled(&mut script)[..], [(_, SendOutcome::NotStored(_))]));
    assert_eq!(script.take_message().unwrap().1, next);
}

#[test]
fn message_is_sent_again_in_order_after_a_temporary_refusal() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    let first = script.send("a");
    script.send("b");
    let (request, _) = script.take_message().unwrap();
    script.refuse(request, ReplyCode::TryAgain);
    assert!(script.take_message().is_none());
    let wait = script.machine.next_tick(script.now).unwrap() - script.now;
    assert!(wait <= Duration::from_millis(250));
    script.pass(wait);
    let (request, again) = script.take_message().unwrap();
    assert_eq!(again, first);
    script.outcome(request, appended(1));
    assert!(script.take_message().is_some());
}

#[test]
fn refusals_of_one_round_delay_the_queue_once() {
    let mut config = config();
    config.max_in_flight = 32;
    let mut script = Script::online(config, vec![group_info(0, 0)]);
    let ids: Vec<_> = (0..32).map(|_| script.send("a")).collect();
    let mut waits = Vec::new();
    for round in 0..7 {
        let mut sent = Vec::new();
        while let Some((request, id)) = script.take_message() {
            sent.push((request, id));
        }
        assert!(sent.iter().map(|(_, id)| *id).eq(ids.iter().copied()), "round {round}");
        for (request, _) in sent {
            script.refuse(request, ReplyCode::Busy);
        }
        let wait = script.machine.next_tick(script.now).unwrap() - script.now;
        waits.push(wait.as_millis());
        // Half of the delay changes nothing.
        script.pass(wait / 2);
        assert!(script.take_message().is_none());
        script.pass(wait - wait / 2);
    }
    assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000]);
}

#[test]
fn late_refusal_counts_for_its_own_round() {
    let mut config = config();
    config.max_in_flight = 2;
    let mut script = Script::online(config, vec![group_info(0, 0)]);
    let [one, two] = ["a", "b"].map(|text| script.send(text));
    let [(first, _), (second, _)] = [script.take_message().unwrap(), script.take_message().unwrap()];
    script.refuse(first, ReplyCode::Busy);
    script.pass(Duration::from_millis(250));
    let (again, id) = script.take_message().unwrap();
    assert_eq!(id, one);
    script.refuse(second, ReplyCode::Busy);
    script.pass(Duration::from_millis(250));
    let (last, id) = script.take_message().unwrap();
    assert_eq!(id, two, "after two rounds, the delay would be 500 ms");
    script.outcome(again, appended(1));
    script.outcome(last, appended(2));
    assert_eq!(settled(&mut script).len(), 2);
}

#[test]
fn repeated_internal_errors_make_the_outcome_unknown() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    script.send("a");
    for _ in 0..3 {
        script.pass(Duration::from_secs(5));
        let (request, _) = script.take_message().unwrap();
        script.refuse(request, ReplyCode::Internal);
    }
    assert!(matches!(settled(&mut script)[..], [(_, SendOutcome::Unknown)]));
}

#[test]
fn deadline_passes_without_a_connection() {
    let mut script = Script::new(config());
    let mut message = outgoing(ClientMessageId::random(), "a");
    message.deadline = Some(script.now + Duration::from_secs(5));
    script.machine.send(script.now, message);
    assert_eq!(
        script.machine.next_tick(script.now),
        Some(script.now + Duration::from_secs(5))
    );
    script.pass(Duration::from_secs(5));
    assert!(matches!(settled(&mut script)[..], [(_, SendOutcome::Unknown)]));
    assert_eq!(script.machine.next_tick(script.now), None);
}

/// While messages wait, the group may be renamed, and another group may take the old name.
#[test]
fn waiting_messages_keep_the_conversation_that_their_name_denoted() {
    let mut script = Script::online(config(), Vec::new());
    let name = ConversationRef::Group(GroupName::parse("general").unwrap());
    let by_name = |text| Outgoing {
        conversation: name.clone(),
        ..outgoing(ClientMessageId::random(), text)
    };
    script.machine.send(script.now, by_name("a"));
    script.machine.send(script.now, by_name("b"));
    let (request, _) = script.take_message().unwrap();
    script.outcome(request, appended(7));
    let sent = |script: &mut Script| match script
        .try_take(|kind| matches!(kind, RequestKind::Command(Command::Send { .. })))
    {
        Some(Request {
            kind: RequestKind::Command(Command::Send { conversation, .. }),
            id,
        }) => (id, conversation),
        other => panic!("{other:?}"),
    };
    let (request, conversation) = sent(&mut script);
    assert_eq!(conversation, ConversationRef::Id(GROUP_ID));
    script.outcome(request, appended(8));
    // A later message goes to the group that has the name then.
    script.machine.send(script.now, by_name("c"));
    assert_eq!(sent(&mut script).1, name);
}

#[test]
fn waiting_message_by_name_is_not_addressed_to_a_group_that_the_user_left() {
    let mut script = Script::new(config());
    let named = ConversationRef::Group(GroupName::parse("room").unwrap());
    let mut by_name = outgoing(message_id::new_id(DEVICE), "to the group of this name");
    by_name.conversation = named.clone();
    script.machine.send(script.now, by_name);
    let mut left = group_info(0, 0);
    left.active = false;
    script.log_in(EPOCH, vec![left]);
    let request = script.try_take(|kind| matches!(kind, RequestKind::Command(Command::Send { .. })));
    let Some(RequestKind::Command(Command::Send { conversation, .. })) = request.map(|request| request.kind) else {
        panic!("the message was not sent");
    };
    assert_eq!(conversation, named);
}
