//! Tests that each device has at most one live session, also under concurrent logins, that the
//! `Reject` policy leaves a user one session, and that ended sessions execute no new commands.

use std::time::Duration;

use futures_util::future::join_all;

use super::support::*;
use crate::commands::Commands;
use crate::engine::operator::{DeletionOptions, OperatorName};
use crate::engine::{CommandError, Engine, LocalSession, SessionPolicy};
use crate::model::*;
use crate::rate::Rate;

#[tokio::test]
async fn newer_session_replaces_the_older() {
    let engine = engine().await;
    let first = new_user(&engine, "alice").await;
    let second = engine
        .session(id(&first), first.caller().device().unwrap())
        .await
        .unwrap();
    let why = wait_for_push(&first, |push| match push {
        Push::Closed(code) => Some(*code),
        _ => None,
    });
    assert_eq!(why.await, CloseCode::Replaced);
    assert_eq!(
        error_code(first.send_text(direct(&first), "x").await),
        ReplyCode::Fenced
    );
    second.send_text(direct(&second), "x").await.unwrap();
    drop(first);
    assert_eq!(
        engine.router().local_sessions(id(&second)).len(),
        1,
        "the end of the replaced session does not end its successor"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_logins_of_one_device_leave_one_session() {
    let engine = engine().await;
    let alice = register(&engine, "alice").await;
    let device = DeviceId::random();
    for _ in 0..10 {
        let logins = (0..100).map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.session(alice, device).await.ok() })
        });
        let sessions: Vec<_> = join_all(logins)
            .await
            .into_iter()
            .filter_map(|login| login.unwrap())
            .collect();
        let live = engine.router().local_sessions(alice);
        assert_eq!(live.len(), 1);
        let mut writers = 0;
        for session in &sessions {
            let sent = session.send_text(direct(session), "mine").await;
            writers += usize::from(sent.is_ok());
            assert_eq!(sent.is_ok(), session.caller() == live[0].0);
        }
        assert_eq!(writers, 1);
    }
}

#[tokio::test]
async fn reject_policy_keeps_the_live_session() {
    let mut config = config();
    config.session_policy = SessionPolicy::Reject;
    let engine = builder().config(config).build().await.unwrap();
    let first = new_user(&engine, "alice").await;
    let elsewhere = engine.login(Source::Local, login(id(&first), DeviceId::random())).await;
    assert_eq!(error_code(elsewhere), ReplyCode::LoggedInElsewhere);
    first.send_text(direct(&first), "still here").await.unwrap();
    let same = engine
        .session(id(&first), first.caller().device().unwrap())
        .await
        .expect("a device may replace its own session");
    let user = id(&same);
    drop((first, same));
    // Once the session has ended, another device can log in.
    let device = DeviceId::random();
    let next = loop {
        match engine.session(user, device).await {
            Ok(next) => break next,
            Err(error) => assert_eq!(error.code, ReplyCode::LoggedInElsewhere),
        }
        tokio::task::yield_now().await;
    };
    next.send_text(direct(&next), "x").await.unwrap();
}

/// Concurrent logins may not see each other's session yet, so that several are admitted. Then the
/// one that commits last ends the sessions of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reject_policy_leaves_one_session_of_several_racing_logins() {
    let mut config = config();
    config.session_policy = SessionPolicy::Reject;
    let engine = builder().config(config).build().await.unwrap();
    for n in 0..50 {
        let user = register(&engine, &format!("user{n}")).await;
        let logins = (0..4).map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.session(user, DeviceId::random()).await.ok() })
        });
        let sessions: Vec<_> = join_all(logins)
            .await
            .into_iter()
            .filter_map(|login| login.unwrap())
            .collect();
        assert_eq!(engine.router().local_sessions(user).len(), 1);
        let mut writers = 0;
        for session in &sessions {
            writers += usize::from(session.send_text(direct(session), "mine").await.is_ok());
        }
        assert_eq!(writers, 1);
    }
}

#[tokio::test]
async fn attach_refuses_a_replaced_session() {
    let engine = engine().await;
    let alice = register(&engine, "alice").await;
    let device = DeviceId::random();
    let older = engine.login(Source::Local, login(alice, device)).await.unwrap();
    let _newer = engine.session(alice, device).await.unwrap();
    let outbox = crate::router::Outbox::new(crate::router::OutboxLimits::default());
    let opened = engine.attach(older.caller, Source::Local, outbox).await;
    assert_eq!(error_code(opened), ReplyCode::Fenced);
    assert_eq!(engine.router().local_sessions(alice).len(), 1);
}

/// The retry of a stored draft is answered as a duplicate even though the session that sent it has
/// ended. Otherwise a client that lost the first answer could not tell whether the draft is stored.
#[tokio::test]
async fn retry_of_a_replaced_session_finds_its_message() {
    let engine = engine().await;
    let first = new_user(&engine, "alice").await;
    let old = first.caller();
    let draft = draft("stored");
    let sent = first.send(direct(&first), draft.clone()).await.unwrap();
    let command = create_group_command("friends");
    let made = conversation(first.execute(command.clone()).await);
    let newer = engine.session(old.user, old.device().unwrap()).await.unwrap();
    let notes = direct(&newer);
    let retry = |draft| Command::Send {
        conversation: notes.clone(),
        draft,
    };
    match engine.execute(old, retry(draft)).await {
        Ok(Outcome::Appended(again)) => assert_eq!((again.seq, again.duplicate), (sent.seq, true)),
        other => panic!("{other:?}"),
    }
    // The answer to a group creation shows the group as it is now, so an ended session gets none.
    // The next session finds the group.
    assert_eq!(
        error_code(engine.execute(old, command.clone()).await),
        ReplyCode::Fenced
    );
    assert_eq!(conversation(newer.execute(command).await).id, made.id);
    let another = engine.execute(old, retry(super::support::draft("new"))).await;
    assert_eq!(error_code(another), ReplyCode::Fenced);
    assert_eq!(
        error_code(engine.execute(old, create_group_command("others")).await),
        ReplyCode::Fenced
    );
}

/// Way in which an operator or the user ends a session.
#[derive(Clone, Copy, Debug)]
enum Ended {
    Disabled,
    Deleted,
    Revoked,
    Replaced,
}

async fn end_session(engine: &Engine, session: &LocalSession, how: Ended) {
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    match how {
        Ended::Disabled => drop(operator.disable(id(session)).await.unwrap()),
        Ended::Deleted => operator
            .delete_account(id(session), DeletionOptions::default())
            .await
            .unwrap(),
        Ended::Revoked => drop(operator.end_sessions(id(session)).await.unwrap()),
        Ended::Replaced => {
            let device = session.caller().device().unwrap();
            drop(engine.session(id(session), device).await.unwrap());
        }
    }
}

/// Returns commands that run no unit of work, so that no transaction checks the session that they
/// come from: reads, marks, a change of the presence, a typing notice.
fn commands_without_unit_of_work(group: ConversationId, peer: UserRef) -> Vec<Command> {
    vec![
        Command::ReadHistory {
            conversation: group.into(),
            page: everything(),
        },
        Command::ListConversations(ConversationQuery::default()),
        Command::GetConversation(group.into()),
        Command::ListMembers {
            group: group.into(),
            after: UserId(0),
            limit: 10,
        },
        list_contacts(),
        Command::ListDevices,
        Command::SearchUsers {
            query: "alice".to_owned(),
            limit: 5,
        },
        Command::SearchGroups {
            query: "rust".to_owned(),
            limit: 5,
        },
        Command::GetUsers(vec![peer]),
        Command::MarkRead {
            conversation: group,
            seq: Seq(1),
        },
        Command::Typing {
            conversation: group,
            stopped: false,
        },
        Command::Acknowledge {
            conversation: group,
            seq: Seq(1),
        },
        Command::SetPresence(PresenceState::Idle),
    ]
}

/// Checks that a command was refused because the session has ended, with the reason of its end.
fn assert_fenced(answer: Result<Outcome, CommandError>, how: Ended, command: &Command) {
    let error = answer.unwrap_err();
    assert_eq!(error.code, ReplyCode::Fenced, "{how:?}: {command:?}");
    match how {
        Ended::Disabled | Ended::Deleted => assert_eq!(error.close_code, Some(CloseCode::AccountDisabled)),
        Ended::Revoked => assert_eq!(error.close_code, Some(CloseCode::Revoked)),
        Ended::Replaced => assert_eq!(error.close_code, Some(CloseCode::Replaced)),
    }
}

#[tokio::test]
async fn ended_session_can_run_no_command_without_unit_of_work() {
    for how in [Ended::Disabled, Ended::Deleted, Ended::Revoked, Ended::Replaced] {
        let engine = engine().await;
        let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
        let group = create_group(&alice, "rust").await;
        join(&bob, group).await;
        for command in commands_without_unit_of_work(group, user(&alice)) {
            bob.execute(command.clone())
                .await
                .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        }
        end_session(&engine, &bob, how).await;
        alice.send_text(group, "after the end").await.unwrap();
        let caller = bob.caller();
        for command in commands_without_unit_of_work(group, user(&alice)) {
            let answer = bob.execute(command.clone()).await;
            assert_fenced(answer, how, &command);
        }
        // The same holds for a caller that has no session any more.
        drop(bob);
        for command in commands_without_unit_of_work(group, user(&alice)) {
            let answer = engine.execute(caller, command.clone()).await;
            assert_fenced(answer, how, &command);
        }
    }
}

/// An application may log in and execute commands without a session, and so without receiving
/// events.
#[tokio::test]
async fn login_without_a_session_reads_until_it_is_revoked() {
    let engine = engine().await;
    let alice = register(&engine, "alice").await;
    let grant = engine
        .login(Source::Local, login(alice, DeviceId::random()))
        .await
        .unwrap();
    engine
        .execute(grant.caller, Command::ListConversations(ConversationQuery::default()))
        .await
        .unwrap();
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    operator.end_sessions(alice).await.unwrap();
    let answer = engine
        .execute(grant.caller, Command::ListConversations(ConversationQuery::default()))
        .await;
    assert_eq!(error_code(answer), ReplyCode::Fenced);
}

/// A command that waits for its user's rate may outlast its session. That of an application, which
/// has no session, is executed unless the account was disabled or deleted.
#[tokio::test(start_paused = true)]
async fn page_that_waits_is_not_read_after_the_session_ended() {
    for how in [Ended::Disabled, Ended::Deleted, Ended::Revoked, Ended::Replaced] {
        let mut config = config();
        config.page_rate = Rate::new(1, Duration::from_secs(60));
        let engine = builder().config(config).build().await.unwrap();
        let alice = new_user(&engine, "alice").await;
        alice.send_text(direct(&alice), "secret").await.unwrap();
        let acting = engine.acting_as(id(&alice));
        let read = || Command::ReadHistory {
            conversation: direct(&alice),
            page: everything(),
        };
        alice.execute(read()).await.unwrap();
        let of_session = tokio::spawn(alice.execute(read()));
        let of_application = tokio::spawn(acting.execute(read()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        end_session(&engine, &alice, how).await;
        let answer = of_session.await.unwrap();
        assert_eq!(error_code(answer), ReplyCode::Fenced, "{how:?}");
        let answer = of_application.await.unwrap().map_err(|error| error.code);
        match how {
            Ended::Disabled | Ended::Deleted => assert_eq!(answer, Err(ReplyCode::AccountDisabled), "{how:?}"),
            Ended::Revoked | Ended::Replaced => assert!(answer.is_ok(), "{how:?}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn answer_of_a_slow_store_is_withheld_after_the_session_ended() {
    let (engine, store, alice) = engine_on_faulty_store(config()).await;
    let held = store.hold_memberships();
    let mut reading = Box::pin(alice.execute(Command::ListConversations(ConversationQuery::default())));
    assert!(futures_util::poll!(&mut reading).is_pending());
    end_session(&engine, &alice, Ended::Revoked).await;
    drop(held);
    assert_eq!(error_code(reading.await), ReplyCode::Fenced);
}

/// A login without a session has no presence to set, but a cursor to move.
#[tokio::test]
async fn login_without_a_session_acknowledges_and_sets_no_presence() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    let conversation = alice.send_text(direct(&alice), "first").await.unwrap().conversation;
    let grant = engine
        .login(Source::Local, login(id(&alice), DeviceId::random()))
        .await
        .unwrap();
    let set = Command::SetPresence(PresenceState::Idle);
    let answer = engine.execute(grant.caller, set).await;
    assert_eq!(error_code(answer), ReplyCode::Fenced);
    let seq = Seq(1);
    let acknowledge = Command::Acknowledge { conversation, seq };
    engine.execute(grant.caller, acknowledge).await.unwrap();
    let get = Command::GetConversation(conversation.into());
    let seen = super::support::conversation(engine.execute(grant.caller, get).await);
    assert_eq!(seen.cursor, seq);
}
