//! Tests of accounts and logins, and of accounts for users whom an application's
//! authenticator accepts.

use std::sync::Arc;

use async_trait::async_trait;

use super::support::*;
use crate::auth::{AccountLogin, AuthError, AuthVerdict, Authenticator, ExternalLogin, Profile, Subject};
use crate::model::*;

#[tokio::test]
async fn registration_refuses_lookalikes_of_taken_names_and_short_passwords() {
    let engine = engine().await;
    let alice = engine.register(Source::Local, registration("alice")).await.unwrap();
    assert_eq!((alice.name.as_str(), alice.display_name.as_str()), ("alice", "alice"));
    for name in ["alice", "ALICE", "ａｌｉｃｅ", "a1ice"] {
        let again = engine.register(Source::Local, registration(name)).await;
        assert_eq!(error_code(again), ReplyCode::NameTaken, "{name}");
    }
    let mut short = registration("bob");
    short.password = Secret::new("short");
    assert_eq!(
        error_code(engine.register(Source::Local, short).await),
        ReplyCode::InvalidPassword
    );
    engine.register(Source::Local, registration("小明")).await.unwrap();
}

#[tokio::test]
async fn registration_can_be_closed() {
    let mut config = config();
    config.allow_registration = false;
    let engine = builder().config(config).build().await.unwrap();
    let refused = engine.register(Source::Local, registration("alice")).await;
    assert_eq!(error_code(refused), ReplyCode::RegistrationClosed);
}

/// The engine answers an unknown account, a wrong password and an invalid password with the same
/// error.
#[tokio::test]
async fn login_error_does_not_reveal_the_cause() {
    let engine = engine().await;
    let alice = register(&engine, "alice").await;
    let attempt = |account: UserRef, secret: &str| Login {
        account: Some(account),
        secret: Secret::new(secret),
        ..login(alice, DeviceId::random())
    };
    let name = |name| UserRef::Name(UserName::parse(name).unwrap());
    let mut answers = Vec::new();
    for wrong in [
        attempt(UserRef::Id(alice), "wrong password"),
        attempt(name("alice"), "wrong password"),
        attempt(name("alice"), "short"),
        attempt(name("alice"), &"long".repeat(1000)),
        attempt(name("stranger"), PASSWORD),
        attempt(UserRef::Id(UserId(99)), PASSWORD),
    ] {
        answers.push(engine.login(Source::Local, wrong).await.unwrap_err());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(answers[0].code, ReplyCode::BadCredentials);
    engine
        .login(Source::Local, attempt(name("alice"), PASSWORD))
        .await
        .unwrap();
}

#[tokio::test]
async fn password_is_the_same_however_its_accents_are_composed() {
    let engine = engine().await;
    let composed = |text: &str| Secret::new(text.replace("a\u{308}", "\u{e4}"));
    let registration = Registration {
        password: Secret::new("first pa\u{308}ss"),
        ..registration("alice")
    };
    let alice = engine.register(Source::Local, registration).await.unwrap().id;
    let attempt = |secret| Login {
        secret,
        ..login(alice, DeviceId::random())
    };
    let grant = engine
        .login(Source::Local, attempt(composed("first pa\u{308}ss")))
        .await
        .unwrap();
    let change = Command::ChangePassword {
        old: composed("first pa\u{308}ss"),
        new: composed("second pa\u{308}ss"),
    };
    engine.execute(grant.caller, change).await.unwrap();
    engine
        .login(Source::Local, attempt(Secret::new("second pa\u{308}ss")))
        .await
        .unwrap();
}

#[tokio::test]
async fn password_with_a_tab_is_refused() {
    let engine = engine().await;
    let invalid = Registration {
        password: Secret::new("with a\ttab"),
        ..registration("bob")
    };
    let refused = engine.register(Source::Local, invalid).await;
    assert_eq!(error_code(refused), ReplyCode::InvalidPassword);
}

#[tokio::test]
async fn password_change_ends_the_other_sessions() {
    let engine = engine().await;
    let alice = register(&engine, "alice").await;
    let (phone, laptop) = (DeviceId::random(), DeviceId::random());
    let on_phone = try_login(&engine, alice, phone).await.unwrap();
    let on_laptop = try_login(&engine, alice, laptop).await.unwrap();
    let change = |old: &str| Command::ChangePassword {
        old: Secret::new(old),
        new: Secret::new("a new password"),
    };
    let wrong = engine.execute(on_phone.caller, change("wrong password")).await;
    assert_eq!(error_code(wrong), ReplyCode::BadCredentials);
    let changed = engine.execute(on_phone.caller, change(PASSWORD)).await.unwrap();
    let Outcome::PasswordChanged(SessionTokens {
        session_token,
        device_token,
    }) = changed
    else {
        panic!("no new tokens: {changed:?}");
    };
    let after = engine.execute(on_laptop.caller, Command::Logout).await;
    assert_eq!(error_code(after), ReplyCode::Fenced);
    let resume = |grant: &LoginGrant| Resume {
        user: alice,
        device: grant.caller.device().unwrap(),
        session_token: grant.session_token.clone().unwrap(),
    };
    let refused = engine.resume(Source::Local, resume(&on_laptop)).await;
    assert_eq!(error_code(refused), ReplyCode::SessionExpired);
    // The session that changed the password continues, but its old tokens are revoked, in case a
    // thief copied them.
    engine.execute(on_phone.caller, list_contacts()).await.unwrap();
    let refused = engine.resume(Source::Local, resume(&on_phone)).await;
    assert_eq!(error_code(refused), ReplyCode::SessionExpired);
    let renewed = Resume {
        session_token,
        ..resume(&on_phone)
    };
    engine.resume(Source::Local, renewed).await.unwrap();
    let mut again = login(alice, phone);
    again.secret = Secret::new("a new password");
    again.device_token = Some(device_token);
    let again = engine.login(Source::Local, again).await.unwrap();
    assert!(again.device_token.is_none(), "the new device token is accepted");
    assert_eq!(
        error_code(try_login(&engine, alice, laptop).await),
        ReplyCode::BadCredentials
    );
}

#[tokio::test]
async fn logout_revokes_the_session_token() {
    let engine = engine().await;
    let alice = register(&engine, "alice").await;
    let grant = try_login(&engine, alice, DeviceId::random()).await.unwrap();
    engine.execute(grant.caller, Command::Logout).await.unwrap();
    let resume = Resume {
        user: alice,
        device: grant.caller.device().unwrap(),
        session_token: grant.session_token.unwrap(),
    };
    assert_eq!(
        error_code(engine.resume(Source::Local, resume).await),
        ReplyCode::SessionExpired
    );
}

#[tokio::test]
async fn sessions_need_a_device_id_and_an_existing_user() {
    let engine = engine().await;
    let alice = register(&engine, "alice").await;
    let refused = try_login(&engine, alice, DeviceId([0; 16])).await;
    assert_eq!(error_code(refused), ReplyCode::InvalidArgument);
    assert_eq!(
        error_code(engine.session(UserId(99), DeviceId::random()).await),
        ReplyCode::NotFound
    );
}

/// Authenticator of an application that has its own users. Accepts two fixed tokens, and fails as
/// unavailable for the token `down`.
#[derive(Debug)]
struct OwnUsers;

#[async_trait]
impl Authenticator for OwnUsers {
    async fn authenticate(&self, _: Source, login: &Login) -> Result<AuthVerdict, AuthError> {
        match login.secret.expose() {
            b"token of alice" => Ok(AuthVerdict::External(ExternalLogin {
                profile: Profile {
                    name_hint: Some("alice".to_owned()),
                    display_name: Some(DisplayName::parse("Alice A.").unwrap()),
                },
                ..ExternalLogin::new(Subject::new("auth0|64f1").unwrap())
            })),
            b"token of one" => Ok(AuthVerdict::Account(AccountLogin::new(UserId(1)))),
            b"down" => Err(AuthError::Unavailable("the user service is down".into())),
            _ => Ok(AuthVerdict::Denied),
        }
    }
}

#[tokio::test]
async fn application_authenticator_replaces_registration_and_passwords() {
    let engine = builder().authenticator(Arc::new(OwnUsers)).build().await.unwrap();
    let attempt = |secret: &str| {
        engine.login(
            Source::Local,
            Login {
                secret: Secret::new(secret),
                ..login(UserId(0), DeviceId::random())
            },
        )
    };
    let first = attempt("token of alice").await.unwrap();
    assert_eq!(
        (first.user.name.as_str(), first.user.display_name.as_str()),
        ("alice", "Alice A.")
    );
    let again = attempt("token of alice").await.unwrap();
    assert_eq!(first.user.id, again.user.id);
    assert_eq!(attempt("token of one").await.unwrap().user.id, UserId(1));
    assert_eq!(error_code(attempt("nonsense").await), ReplyCode::BadCredentials);
    assert_eq!(error_code(attempt("down").await), ReplyCode::TryAgain);
    let refused = engine.register(Source::Local, registration("bob")).await;
    assert_eq!(error_code(refused), ReplyCode::RegistrationClosed);
    let change = Command::ChangePassword {
        old: Secret::new(PASSWORD),
        new: Secret::new(PASSWORD),
    };
    assert_eq!(
        error_code(engine.execute(first.caller, change).await),
        ReplyCode::RefusedByPolicy
    );
}

#[tokio::test]
async fn profile_changes_are_stored_and_users_are_found() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let name = DisplayName::parse("Alice A.").unwrap();
    let change = Command::UpdateProfile(ProfileChanges {
        display_name: Some(name),
        ..ProfileChanges::default()
    });
    let Ok(Outcome::User(own)) = alice.execute(change).await else {
        panic!("no user");
    };
    assert_eq!(own.direct_policy, Some(DirectPolicy::Friends));
    let name = UserRef::Name(UserName::parse("alice").unwrap());
    let get = Command::GetUsers(vec![UserRef::Id(UserId(99)), name, user(&bob)]);
    let Ok(Outcome::Users(users)) = bob.execute(get).await else {
        panic!("no users");
    };
    assert_eq!(
        users.iter().map(|user| user.display_name.as_str()).collect::<Vec<_>>(),
        ["Alice A.", "bob"]
    );
    assert_eq!(users[0].direct_policy, None, "only the user sees the user's own policy");
    // A query finds users by the beginnings of their names, and by id: 2 is the id of bob.
    for (query, expected) in [
        ("al", 1),
        ("Alice", 1),
        ("ＡＬ", 1),
        (" b ", 1),
        ("2", 1),
        ("", 0),
        (" ", 0),
        ("%", 0),
    ] {
        let search = Command::SearchUsers {
            query: query.to_owned(),
            limit: 10,
        };
        let Ok(Outcome::Users(found)) = bob.execute(search).await else {
            panic!("no users");
        };
        assert_eq!(found.len(), expected, "{query}");
    }
}
