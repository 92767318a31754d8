//! Steps from a connection to a session: hello, then register, resume or log in.

use std::time::{Duration, Instant};

use crate::client::{ClientError, error};
use crate::codec::{Answer, Failure, Hello, LoggedIn, RequestKind, Welcome, version};
use crate::model::{Login, Registration, ReplyCode, Resume, Secret, SessionTokens, UserRef};

use super::{
    Action, Credentials, Machine, Phase, Receive, Session,
    listing::{Listing, MAX_ONLINE_DELAY},
    requests::RequestPurpose,
};

/// Interval between heartbeats if the server does not give one.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(30);
/// Minimum interval between heartbeats. A shorter interval of the server is raised to it.
const MIN_HEARTBEAT: Duration = Duration::from_secs(1);

/// Answers of the server so far, on a connection that has no session yet.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// Interval between heartbeats; `None` until the answer to the hello arrives.
    heartbeat_interval: Option<Duration>,
}

impl Machine {
    /// Sends the hello and the first request of the login, without waiting for the reply to the
    /// hello.
    pub(super) fn open(&mut self, now: Instant) {
        self.phase = Phase::Opening(Opening::default());
        let hello = Hello {
            min_version: version::MIN,
            max_version: version::MAX,
            client: self.config.client_name.clone(),
        };
        self.request(now, RequestPurpose::Hello, RequestKind::Hello(hello));
        self.log_in(now);
    }

    /// Sends the next request that the credentials call for: register, resume or log in. Ends the
    /// client if it has no credentials.
    fn log_in(&mut self, now: Instant) {
        let session = self.config.session.clone();
        match (self.config.credentials.clone(), session) {
            (Credentials::Register(registration), _) if !self.has_ended_registration => {
                self.register(now, registration)
            }
            (
                Credentials::Password {
                    account,
                    secret,
                    fresh: true,
                },
                _,
            ) => self.log_in_with(now, Some(account), secret),
            (Credentials::Token { token, fresh: true }, _) => self.log_in_with(now, None, token),
            (_, Some((user, session_token))) => {
                let resume = Resume {
                    user,
                    device: self.config.device,
                    session_token,
                };
                self.request(now, RequestPurpose::Resume, RequestKind::Resume(resume));
            }
            (Credentials::Password { account, secret, .. }, None) => self.log_in_with(now, Some(account), secret),
            (Credentials::Token { token, .. }, None) => self.log_in_with(now, None, token),
            (Credentials::Register(Registration { name, password, .. }), None) => {
                self.log_in_with(now, Some(UserRef::Name(name)), password);
            }
            (Credentials::Stored, None) => self.end(ClientError::NoCredentials),
        }
    }

    /// Records that the client logs in from now on, and registers no more. A stored session may be
    /// of another user, so this run does not resume it; the store keeps it until the login has
    /// succeeded.
    fn end_registration(&mut self) {
        self.has_ended_registration = true;
        self.config.session = None;
    }

    fn register(&mut self, now: Instant, registration: Registration) {
        self.request(now, RequestPurpose::Register, RequestKind::Register(registration));
    }

    /// Logs in with a password or a token. Without an account, the token identifies the user.
    fn log_in_with(&mut self, now: Instant, account: Option<UserRef>, secret: Secret) {
        let login = Login {
            account,
            secret,
            device: self.config.device,
            device_name: self.config.device_name.clone(),
            device_token: self.config.device_token.clone(),
        };
        self.request(now, RequestPurpose::Login, RequestKind::Login(login));
    }

    /// Processes the reply to a hello, registration, login or resume.
    pub(super) fn opening_reply(&mut self, now: Instant, purpose: &RequestPurpose, result: Result<Answer, Failure>) {
        let Phase::Opening(opening) = &mut self.phase else {
            return; // a session has started, or the client has left the connection
        };
        match (purpose, result) {
            (RequestPurpose::Hello, Ok(Answer::Welcome(welcome))) => {
                opening.heartbeat_interval = Some(heartbeat_interval(&welcome))
            }
            (RequestPurpose::Register, Ok(Answer::Registered(_))) => {
                self.is_registration_confirmed = true;
                self.end_registration();
                self.log_in(now);
            }
            (RequestPurpose::Login | RequestPurpose::Resume, Ok(Answer::LoggedIn(logged_in))) => {
                self.logged_in(now, *logged_in)
            }
            (_, Ok(_)) => self.reconnect(
                ClientError::Protocol(
                    "the server answered a hello, registration, login or resume with an answer of another kind".into(),
                ),
                None,
            ),
            (purpose, Err(failure)) => self.opening_refused(now, purpose, failure),
        }
    }

    /// Handles a refusal: with another attempt, another request, or the end of the client.
    fn opening_refused(&mut self, now: Instant, purpose: &RequestPurpose, failure: Failure) {
        if error::refusal_kind(&failure) == error::RefusalKind::Temporary {
            // After these errors, a registration may have taken effect.
            let is_unknown = matches!(failure.code(), Some(ReplyCode::TryAgain | ReplyCode::Internal));
            self.register_interrupted |= is_unknown && matches!(purpose, RequestPurpose::Register);
            // Without a delay, the refusal says nothing about other servers, so the machine asks
            // for no minimum delay before the next attempt.
            let after = Duration::from_millis(u64::from(failure.retry_after_ms));
            let after = Some(after).filter(|after| !after.is_zero());
            return self.reconnect(ClientError::Refused(failure), after);
        }
        match (purpose, failure.code()) {
            (RequestPurpose::Register, _) if self.register_interrupted => {
                self.end_registration();
                self.registration_refusal = Some(failure);
                self.log_in(now);
            }
            (RequestPurpose::Resume, Some(ReplyCode::SessionExpired | ReplyCode::BadCredentials)) => {
                self.forget_session();
                // The session may have been ended by a logout whose answer was lost.
                let logouts = self.take_logouts();
                if !logouts.is_empty() {
                    return self.logged_out(logouts);
                }
                match self.config.credentials {
                    Credentials::Stored => self.end(ClientError::Refused(failure)),
                    _ => self.log_in(now),
                }
            }
            _ => {
                let refusal = self.registration_refusal.take();
                let refusal = refusal.filter(|_| !proves_password(purpose, &failure));
                self.end(ClientError::Refused(refusal.unwrap_or(failure)));
            }
        }
    }

    fn logged_in(&mut self, now: Instant, logged_in: LoggedIn) {
        let Phase::Opening(opening) = &self.phase else { return };
        let heartbeat_interval = opening.heartbeat_interval.unwrap_or(DEFAULT_HEARTBEAT);
        if let Err(other) = self.check_user(&logged_in) {
            return self.end(other);
        }
        self.has_logged_in = true;
        self.registration_refusal = None;
        self.phase = Phase::Online(Session {
            user: logged_in.user.id,
            heartbeat_interval,
            last_sent: now,
            caught_up: self.config.receive == Receive::Nothing,
            listing: Listing::Done,
            online_at: Some(now + MAX_ONLINE_DELAY),
            leaving: None,
        });
        self.keep_tokens(&logged_in);
        self.enter_epoch(logged_in.store_epoch);
        let (conversations, has_more) = (logged_in.conversations.clone(), logged_in.has_more);
        self.actions.push_back(Action::LoggedIn(Box::new(logged_in)));
        self.begin_sync(now, conversations);
        self.begin_listing(now, has_more);
    }

    /// Refuses a login as another user than that of the saved state: the account may have been
    /// renamed or deleted, and its name given to another user, in whose name the messages of the
    /// outbox must not be sent. Ids of users of different store epochs cannot be compared, so a
    /// login in another epoch is not refused. Records the user of a login that is not refused.
    fn check_user(&mut self, logged_in: &LoggedIn) -> Result<(), ClientError> {
        let user = logged_in.user.id;
        let saved = self.config.user.filter(|saved| *saved != user);
        match saved {
            Some(saved)
                if self
                    .config
                    .store_epoch
                    .is_none_or(|epoch| epoch == logged_in.store_epoch) =>
            {
                Err(ClientError::OtherUser { saved, user })
            }
            _ => {
                self.config.user = Some(user);
                Ok(())
            }
        }
    }

    fn keep_tokens(&mut self, logged_in: &LoggedIn) {
        if let Some(token) = &logged_in.session_token {
            self.config.session = Some((logged_in.user.id, token.clone()));
        }
        if let Some(token) = &logged_in.device_token {
            self.config.device_token = Some(token.clone());
        }
        // Later connections of this run resume; the secret was required for the first only.
        match &mut self.config.credentials {
            Credentials::Password { fresh, .. } | Credentials::Token { fresh, .. } => *fresh = false,
            Credentials::Stored | Credentials::Register(_) => {}
        }
    }

    /// Uses and saves the tokens that the server issued after a change of the password.
    pub(super) fn renew_tokens(&mut self, tokens: &SessionTokens) {
        if let Some((_, token)) = &mut self.config.session {
            token.clone_from(&tokens.session_token);
        }
        self.config.device_token = Some(tokens.device_token.clone());
        self.actions.push_back(Action::TokensChanged(tokens.clone()));
    }
}

/// Returns whether a refused request was a login whose password is right, which shows that the
/// account of the credentials exists.
fn proves_password(purpose: &RequestPurpose, failure: &Failure) -> bool {
    let is_login = matches!(purpose, RequestPurpose::Login);
    let code = failure.code();
    is_login
        && matches!(
            code,
            Some(ReplyCode::AccountDisabled | ReplyCode::LoggedInElsewhere | ReplyCode::TooManyDevices)
        )
}

fn heartbeat_interval(welcome: &Welcome) -> Duration {
    match welcome.heartbeat_ms {
        0 => DEFAULT_HEARTBEAT,
        given => Duration::from_millis(u64::from(given)).max(MIN_HEARTBEAT),
    }
}
