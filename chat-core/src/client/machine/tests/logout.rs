//! Tests of logouts whose answer is lost or late.

use super::script::*;
use super::session::{ended, is_login, is_resume, password};
use crate::client::ClientError;
use crate::client::machine::{Action, Credentials};
use crate::codec::RequestKind;
use crate::model::{CloseCode, Command, Outcome, Push, ReplyCode};

fn is_logout(kind: &RequestKind) -> bool {
    matches!(kind, RequestKind::Command(Command::Logout))
}

/// Returns whether the logout succeeded, and whether the token was deleted.
fn logged_out(script: &mut Script) -> (bool, bool) {
    script.drain();
    let succeeded = |action: &Action| {
        matches!(
            action,
            Action::Finish {
                command_id: 1,
                result: Ok(Outcome::Done)
            }
        )
    };
    let forgot = |action: &Action| matches!(action, Action::ForgetSession);
    (script.actions.iter().any(succeeded), script.actions.iter().any(forgot))
}

/// Returns a script whose connection broke before the answer to a logout.
fn interrupted_logout(credentials: Credentials) -> Script {
    let mut config = config();
    config.credentials = credentials;
    let mut script = Script::online(config, Vec::new());
    script.machine.execute(script.now, 1, Command::Logout);
    assert!(script.try_take(is_logout).is_some());
    script.machine.disconnected(script.now);
    assert_eq!(logged_out(&mut script), (false, false));
    script
}

#[test]
fn logout_is_repeated_and_keeps_the_token_until_it_is_answered() {
    let mut script = interrupted_logout(Credentials::Stored);
    script.log_in(EPOCH, Vec::new());
    assert_eq!(logged_out(&mut script), (false, false));
    let logout = script.take(is_logout);
    script.outcome(logout, Outcome::Done);
    assert_eq!(logged_out(&mut script), (true, true));
    assert!(matches!(
        ended(&mut script),
        Some(ClientError::Ended(CloseCode::LoggedOut))
    ));
}

#[test]
fn logout_succeeds_if_the_session_turns_out_to_have_ended() {
    for credentials in [Credentials::Stored, password(false)] {
        let mut script = interrupted_logout(credentials);
        script.machine.connected(script.now);
        let resume = script.take(is_resume);
        script.refuse(resume, ReplyCode::SessionExpired);
        assert_eq!(logged_out(&mut script), (true, true));
        assert!(
            script.try_take(is_login).is_none(),
            "the application wants no new session"
        );
    }
}

#[test]
fn logout_succeeds_if_the_close_overtakes_its_answer() {
    let mut script = Script::online(config(), Vec::new());
    script.machine.execute(script.now, 1, Command::Logout);
    script.push(Push::Closed(CloseCode::LoggedOut));
    assert_eq!(logged_out(&mut script), (true, true));
}

#[test]
fn logout_without_an_answer_ends_as_interrupted() {
    let mut script = interrupted_logout(Credentials::Stored);
    script.log_in(EPOCH, Vec::new());
    script.machine.give_up(ClientError::Closed);
    assert_eq!(logged_out(&mut script), (false, false));
    let interrupted = |action: &Action| {
        matches!(
            action,
            Action::Finish {
                command_id: 1,
                result: Err(ClientError::Interrupted)
            }
        )
    };
    assert!(script.actions.iter().any(interrupted));
}
