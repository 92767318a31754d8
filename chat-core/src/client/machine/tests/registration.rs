//! Tests of registrations, and of the login that follows them.

use super::script::*;
use super::session::{ended, is_login, is_resume};
use crate::client::machine::{Action, Credentials};
use crate::codec::{Answer, RequestKind};
use crate::model::{Registration, ReplyCode, Secret, UserName};

#[test]
fn registration_is_followed_by_login() {
    let mut config = config();
    config.session = None;
    config.credentials = registration();
    let mut script = Script::new(config);
    script.machine.connected(script.now);
    let request = script.take(|kind| matches!(kind, RequestKind::Register(_)));
    script.answer(request, Answer::Registered(user(ME, "alice")));
    assert!(script.try_take(is_login).is_some());
    assert!(script.machine.may_have_registered(), "until the login has succeeded");
    assert!(!script.machine.is_registration_outcome_unknown());
}

/// The server may have created the account, so another attempt that finds the name taken logs in.
#[test]
fn registration_with_an_unknown_outcome_is_followed_by_a_login_if_the_name_is_taken() {
    let mut config = config();
    config.session = None;
    config.credentials = registration();
    let mut script = Script::new(config);
    script.machine.connected(script.now);
    assert!(!script.machine.may_have_registered());
    let request = script.take(|kind| matches!(kind, RequestKind::Register(_)));
    script.refuse(request, ReplyCode::TryAgain);
    assert!(script.machine.may_have_registered());
    script.machine.disconnected(script.now);
    script.sent.clear();
    script.machine.connected(script.now);
    let request = script.take(|kind| matches!(kind, RequestKind::Register(_)));
    script.refuse(request, ReplyCode::NameTaken);
    assert!(script.try_take(is_login).is_some());
}

#[test]
fn registration_does_not_resume_the_stored_session_of_another_user() {
    let mut config = config();
    assert!(config.session.is_some(), "the session of another user");
    config.credentials = registration();
    let mut script = Script::new(config);
    script.machine.connected(script.now);
    let request = script.take(|kind| matches!(kind, RequestKind::Register(_)));
    script.answer(request, Answer::Registered(user(OTHER, "alice")));
    assert!(script.try_take(is_login).is_some() && script.try_take(is_resume).is_none());
    script.machine.disconnected(script.now);
    script.sent.clear();
    script.machine.connected(script.now);
    assert!(script.try_take(is_login).is_some() && script.try_take(is_resume).is_none());
    let kept = |action: &Action| !matches!(action, Action::ForgetSession);
    assert!(script.actions.iter().all(kept), "the login may fail");
}

/// Even if a hook or a closed registration refuses the repeated attempt, the first one, whose reply
/// was lost, may have created the account.
#[test]
fn interrupted_registration_falls_back_to_login_after_any_final_refusal() {
    for refusal in [
        ReplyCode::NameTaken,
        ReplyCode::RefusedByPolicy,
        ReplyCode::RegistrationClosed,
    ] {
        let mut script = interrupted_registration();
        let request = script.take(|kind| matches!(kind, RequestKind::Register(_)));
        script.refuse(request, refusal);
        let login = script.take(is_login);
        script.refuse(login, ReplyCode::BadCredentials);
        assert_eq!(
            ended(&mut script).unwrap().code(),
            Some(refusal),
            "the first attempt did not create the account"
        );
    }
}

#[test]
fn refusal_of_a_registration_is_reported_although_the_login_takes_two_connections() {
    let mut script = interrupted_registration();
    let request = script.take(|kind| matches!(kind, RequestKind::Register(_)));
    script.refuse(request, ReplyCode::NameTaken);
    let login = script.take(is_login);
    script.refuse(login, ReplyCode::Busy);
    assert!(
        script.machine.is_registration_outcome_unknown(),
        "nobody has confirmed it"
    );
    script.machine.disconnected(script.now);
    script.sent.clear();
    script.machine.connected(script.now);
    let login = script.take(is_login);
    script.refuse(login, ReplyCode::BadCredentials);
    assert_eq!(ended(&mut script).unwrap().code(), Some(ReplyCode::NameTaken));
}

/// The server refuses a login with `TooManyDevices` only if the password is right, so the account
/// exists.
#[test]
fn refused_login_after_an_interrupted_registration_names_its_own_reason() {
    let mut script = interrupted_registration();
    let request = script.take(|kind| matches!(kind, RequestKind::Register(_)));
    script.refuse(request, ReplyCode::NameTaken);
    let login = script.take(is_login);
    script.refuse(login, ReplyCode::TooManyDevices);
    assert_eq!(ended(&mut script).unwrap().code(), Some(ReplyCode::TooManyDevices));
}

/// Returns a client whose second connection has begun, after the first one broke before the reply
/// to the registration.
fn interrupted_registration() -> Script {
    let mut config = config();
    config.session = None;
    config.credentials = registration();
    let mut script = Script::new(config);
    script.machine.connected(script.now);
    script.machine.disconnected(script.now);
    script.sent.clear();
    script.machine.connected(script.now);
    script
}

fn registration() -> Credentials {
    Credentials::Register(Registration {
        name: UserName::parse("alice").unwrap(),
        password: Secret::new(*b"secret"),
        display_name: None,
    })
}
