//! Tests of accounts that an application provisions and identifies by external subjects, and of its
//! authenticators.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::support::*;
use crate::auth::{
    AccountLogin, AuthError, AuthVerdict, Authenticator, ExternalLogin, PasswordAuthenticator, Profile,
    Reauthentication, Subject,
};
use crate::clock::{Clock, SystemClock};
use crate::commands::Commands;
use crate::engine::Engine;
use crate::model::*;
use crate::router::{Outbox, OutboxLimits};
use crate::store::MemoryStore;

/// Authenticator of an application whose tokens have the form `HINT/SUBJECT` (hint for the name of
/// the account, external subject), or `#ID` for the user of an existing account.
#[derive(Debug, Default)]
struct Tokens {
    /// Time at which each login expires; `None` if logins do not expire.
    expires_at: Option<Timestamp>,
    /// If true, sessions cannot be resumed.
    denies_resume: AtomicBool,
}

#[async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, _: Source, login: &Login) -> Result<AuthVerdict, AuthError> {
        let token = std::str::from_utf8(login.secret.expose()).unwrap();
        if let Some(id) = token.strip_prefix('#') {
            let mut known = AccountLogin::new(UserId(id.parse().unwrap()));
            known.expires_at = self.expires_at;
            return Ok(AuthVerdict::Account(known));
        }
        let (hint, subject) = token.split_once('/').unwrap();
        let mut external = ExternalLogin::new(Subject::new(subject).unwrap());
        external.profile.name_hint = Some(hint.to_owned());
        external.expires_at = self.expires_at;
        Ok(AuthVerdict::External(external))
    }

    async fn reauthenticate(&self, _: Source, _: &Account) -> Result<Reauthentication, AuthError> {
        Ok(if self.denies_resume.load(Ordering::Relaxed) {
            Reauthentication::Denied
        } else {
            Reauthentication::Accepted
        })
    }
}

async fn engine_with(tokens: &Arc<Tokens>) -> Engine {
    let authenticator: Arc<dyn Authenticator> = Arc::clone(tokens) as _;
    builder().authenticator(authenticator).build().await.unwrap()
}

async fn log_in(engine: &Engine, token: &str) -> LoginGrant {
    let login = Login::with_token(Secret::new(token), DeviceId::random());
    engine.login(Source::Local, login).await.unwrap()
}

async fn resume(engine: &Engine, grant: &LoginGrant) -> Result<LoginGrant, crate::engine::CommandError> {
    let device = grant.caller.device().unwrap();
    let resume = Resume::new(grant.user.id, device, grant.session_token.clone().unwrap());
    engine.resume(Source::Local, resume).await
}

#[tokio::test]
async fn every_subject_has_its_own_account_whatever_its_form() {
    let engine = engine_with(&Arc::default()).await;
    let subjects = [
        "auth0|64f0c0ffee",
        "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
        "alice@example.org",
        "Alice@example.org",
        "名前 🍣",
    ];
    let mut users = std::collections::HashSet::new();
    for subject in subjects {
        let first = log_in(&engine, &format!("alice/{subject}")).await;
        let again = log_in(&engine, &format!("other/{subject}")).await;
        assert_eq!(first.user, again.user, "{subject}");
        assert!(first.user.name.starts_with("alice") || first.user.name.starts_with("user-"));
        assert!(users.insert(first.user.id), "{subject}");
        let found = engine
            .provision(Subject::new(subject).unwrap(), Profile::default())
            .await;
        assert_eq!(found.unwrap(), first.user, "{subject}");
    }
}

#[tokio::test]
async fn provisioned_account_is_found_by_a_later_login() {
    let engine = engine_with(&Arc::default()).await;
    let subject = || Subject::new("auth0|64f1").unwrap();
    let profile = Profile {
        name_hint: Some("Alice Smith".to_owned()),
        display_name: Some(DisplayName::parse("Alice S.").unwrap()),
    };
    let provisioned = engine.provision(subject(), profile).await.unwrap();
    assert_eq!(
        (provisioned.name.as_str(), provisioned.display_name.as_str()),
        ("alice-smith", "Alice S.")
    );
    assert_eq!(log_in(&engine, "x/auth0|64f1").await.user, provisioned);
    assert_eq!(engine.stats().router.sessions, 0, "neither call attaches a session");
}

#[test]
fn subject_has_1_to_255_bytes_without_control_characters() {
    assert!(Subject::new("").is_err());
    assert!(Subject::new("x".repeat(255)).is_ok());
    assert!(Subject::new("x".repeat(256)).is_err());
    assert!(
        Subject::new("\u{1}deleted:00").is_err(),
        "no subject equals the tombstone that replaces the subject of a deleted account"
    );
    assert!(!format!("{:?}", Subject::new("auth0|64f1")).contains("64f1"));
}

#[tokio::test]
async fn session_ends_when_its_login_expires() {
    let soon = SystemClock.now().plus_millis(500);
    let tokens = Arc::new(Tokens {
        expires_at: Some(soon),
        ..Tokens::default()
    });
    let engine = engine_with(&tokens).await;
    let subject = Subject::new("auth0|64f1").unwrap();
    let user = engine.provision(subject, Profile::default()).await.unwrap();
    let mut sessions = Vec::new();
    // The user of the second token is that of the first one.
    for token in ["alice/auth0|64f1".to_owned(), format!("#{}", user.id)] {
        let grant = log_in(&engine, &token).await;
        assert_eq!(grant.user.id, user.id);
        let resumed = resume(&engine, &grant).await.unwrap();
        let outbox = Outbox::new(OutboxLimits::default());
        let attached = engine.attach(resumed.caller, Source::Local, Arc::clone(&outbox)).await;
        sessions.push((token, grant, outbox, attached.unwrap()));
    }
    for (token, grant, outbox, attached) in sessions {
        let ended = async {
            while outbox.close_code().is_none() {
                outbox.ready().await;
                outbox.drain(usize::MAX, &mut Vec::new());
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
        assert_eq!(outbox.close_code(), Some(CloseCode::Revoked), "{token}");
        assert!(SystemClock.now() >= soon);
        drop(attached);
        assert_eq!(error_code(resume(&engine, &grant).await), ReplyCode::SessionExpired);
        let expired = Login::with_token(Secret::new(token), DeviceId::random());
        let refused = engine.login(Source::Local, expired).await;
        assert_eq!(error_code(refused), ReplyCode::BadCredentials);
    }
}

#[tokio::test]
async fn expired_login_cannot_execute_commands() {
    let soon = SystemClock.now().plus_millis(300);
    let tokens = Arc::new(Tokens {
        expires_at: Some(soon),
        ..Tokens::default()
    });
    let engine = engine_with(&tokens).await;
    let grant = log_in(&engine, "alice/auth0|64f1").await;
    let me = ConversationRef::direct(grant.user.id);
    let send = |text: &str| Command::Send {
        conversation: me.clone(),
        draft: draft(text),
    };
    engine.execute(grant.caller, send("before")).await.unwrap();
    let outbox = Outbox::new(OutboxLimits::default());
    let attached = engine.attach(grant.caller, Source::Local, Arc::clone(&outbox)).await;
    let attached = attached.unwrap();
    tokio::time::timeout(Duration::from_secs(10), outbox.closed())
        .await
        .unwrap();
    let commands = || {
        let rename = ProfileChanges {
            display_name: Some(DisplayName::parse("A.").unwrap()),
            ..ProfileChanges::default()
        };
        [
            send("after"),
            create_group_command("rust"),
            Command::UpdateProfile(rename),
            Command::RevokeDevice(DeviceId::random()),
            Command::ListConversations(ConversationQuery::default()),
            Command::ReadHistory {
                conversation: me.clone(),
                page: everything(),
            },
        ]
    };
    for command in commands() {
        let answer = engine.execute(grant.caller, command.clone()).await;
        assert_eq!(error_code(answer), ReplyCode::Fenced, "{command:?}");
    }
    drop(attached);
    for command in commands() {
        let answer = engine.execute(grant.caller, command.clone()).await;
        assert_eq!(error_code(answer), ReplyCode::Fenced, "{command:?}");
    }
}

#[tokio::test]
async fn local_session_does_not_extend_a_login_that_expires() {
    let soon = SystemClock.now().plus_millis(60_000);
    let tokens = Arc::new(Tokens {
        expires_at: Some(soon),
        ..Tokens::default()
    });
    let engine = engine_with(&tokens).await;
    let grant = log_in(&engine, "alice/auth0|64f1").await;
    let device = grant.caller.device().unwrap();
    let local = engine.session(grant.user.id, device).await.unwrap();
    // The local session has replaced the login, and does not expire. If it kept the token of the
    // login, that token would stay valid after the login's expiry.
    assert_eq!(error_code(resume(&engine, &grant).await), ReplyCode::SessionExpired);
    local.send_text(direct(&local), "still here").await.unwrap();
}

#[tokio::test]
async fn local_session_keeps_the_token_of_a_login_that_does_not_expire() {
    let engine = engine_with(&Arc::default()).await;
    let grant = log_in(&engine, "alice/auth0|64f1").await;
    drop(
        engine
            .session(grant.user.id, grant.caller.device().unwrap())
            .await
            .unwrap(),
    );
    resume(&engine, &grant).await.unwrap();
}

#[tokio::test]
async fn resume_is_refused_when_the_authenticator_denies_it() {
    let tokens = Arc::new(Tokens::default());
    let engine = engine_with(&tokens).await;
    let grant = log_in(&engine, "alice/auth0|64f1").await;
    resume(&engine, &grant).await.unwrap();
    tokens.denies_resume.store(true, Ordering::Relaxed);
    assert_eq!(error_code(resume(&engine, &grant).await), ReplyCode::SessionExpired);
    tokens.denies_resume.store(false, Ordering::Relaxed);
    resume(&engine, &grant).await.unwrap();
}

#[tokio::test]
async fn login_without_an_account_is_refused_by_the_password_authenticator() {
    let engine = engine().await;
    register(&engine, "alice").await;
    let login = Login::with_token(Secret::new(PASSWORD), DeviceId::random());
    assert_eq!(
        error_code(engine.login(Source::Local, login).await),
        ReplyCode::BadCredentials
    );
}

/// Authenticator that accepts both tokens and passwords.
#[derive(Debug)]
struct TokensAndPasswords {
    tokens: Tokens,
    passwords: Arc<PasswordAuthenticator>,
}

#[async_trait]
impl Authenticator for TokensAndPasswords {
    async fn authenticate(&self, source: Source, login: &Login) -> Result<AuthVerdict, AuthError> {
        match login.account {
            Some(_) => self.passwords.authenticate(source, login).await,
            None => self.tokens.authenticate(source, login).await,
        }
    }
}

#[tokio::test]
async fn application_may_accept_tokens_and_passwords() {
    let (store, config) = (Arc::new(MemoryStore::new()), config());
    let passwords = PasswordAuthenticator::new(store.clone(), config.passwords.clone(), config.throttle.clone());
    let passwords = Arc::new(passwords.unwrap());
    let authenticator = TokensAndPasswords {
        tokens: Tokens::default(),
        passwords: Arc::clone(&passwords),
    };
    let builder = Engine::builder(store).config(config);
    let builder = builder.authenticator(Arc::new(authenticator)).passwords(passwords);
    let engine = builder.build().await.unwrap();

    let alice = new_user(&engine, "alice").await;
    let device = alice.caller().device().unwrap();
    engine.login(Source::Local, login(id(&alice), device)).await.unwrap();
    assert_ne!(log_in(&engine, "bob/subject").await.user.id, id(&alice));
    engine.shutdown().await;
}

#[tokio::test]
async fn registration_is_closed_if_the_authenticator_knows_no_passwords() {
    let engine = engine_with(&Arc::default()).await;
    let registered = engine.register(Source::Local, registration("alice")).await;
    assert_eq!(error_code(registered), ReplyCode::RegistrationClosed);
}
