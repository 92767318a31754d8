//! The guest stage of a connection: before login.

use std::sync::Arc;
use std::time::Instant;

use super::poll::{Interest, OutboxInterest, Wake};
use super::{Connection, End, unless_killed};
use crate::auth::{ConnectionPermit, Offence, ThrottleLimit, Throttled};
use crate::cluster::NodeInfo;
use crate::codec::{Failure, LoggedIn, NodeEntry};
use crate::model::{CloseCode, LoginGrant, ReplyCode, Source};
use crate::router::Outbox;
use crate::server::wire::WireError;
use crate::server::{Shared, now};
use crate::service::{AttachedSession, CommandError, SessionGuard};
use crate::session::{Credentials, Guest, GuestAction, LoginTicket, Session};

/// Maximum number of nodes in the reply to a client that asks for the nodes of the cluster.
const MAX_LISTED_NODES: usize = 100;

/// A session whose login has succeeded and which receives events.
pub(super) struct EstablishedSession {
    pub(super) session: Session,
    pub(super) session_guard: SessionGuard,
    pub(super) outbox: Arc<Outbox>,
}

impl Connection<'_> {
    /// Serves a guest until it has logged in. Returns an error if the connection has to end before
    /// that.
    pub(super) async fn serve_guest(
        &mut self,
        accepted: Instant,
        permit: &mut ConnectionPermit,
    ) -> Result<EstablishedSession, End> {
        let config = Arc::clone(&self.shared.session_config);
        let mut guest = Guest::new(config, self.shared.service.store_epoch(), accepted, now());
        loop {
            self.feed_guest(&mut guest)?;
            while let Some(action) = guest.poll_action() {
                match action {
                    GuestAction::Send(frames) => self.frames.push(frames),
                    GuestAction::Close(code) => {
                        penalise(permit, code);
                        return Err(End::Close(code));
                    }
                    GuestAction::ListNodes(ticket) => guest.handle_nodes(now(), ticket, nodes(self.shared)),
                    GuestAction::Register(ticket, registration) => {
                        let registering = self.shared.service.register(self.source, registration);
                        let result = unless_killed(&self.connection_guard, registering).await?;
                        self.log_if_throttled(result.as_ref().err());
                        guest.handle_registered(now(), ticket, result.map_err(Failure::from));
                    }
                    GuestAction::Authenticate(ticket, credentials) => {
                        if let Some(wait) = login_wait(permit, &credentials) {
                            guest.handle_rejected(now(), ticket, CommandError::from(wait).into());
                            continue;
                        }
                        // Checked before the login, because a login ends the older session of the
                        // device, which should continue if the new session cannot start.
                        if !self.count_session(permit) {
                            guest.close(CloseCode::Overloaded);
                            continue;
                        }
                        // Boxed, so that a guest that waits for input holds no memory for a login.
                        let authenticating = Box::pin(authenticate(self.shared, self.source, credentials));
                        match unless_killed(&self.connection_guard, authenticating).await? {
                            Ok(login) => {
                                permit.record_login(now());
                                return Ok(self.establish_session(guest, ticket, login));
                            }
                            Err(error) => {
                                permit.count_as_unauthenticated();
                                if error.code == ReplyCode::BadCredentials {
                                    permit.penalise(now(), Offence::AuthFailed);
                                }
                                self.log_if_throttled(Some(&error));
                                guest.handle_rejected(now(), ticket, error.into());
                            }
                        }
                    }
                }
            }
            self.seal()?;
            let interest = Interest {
                input: guest.wants_input(),
                timeout: guest.poll_timeout(),
                outbox: OutboxInterest::Nothing,
            };
            match self.wait(interest).await {
                Wake::Filled(result) => result.map_err(End::from)?,
                Wake::Flushed(result) => result.map_err(WireError::from)?,
                Wake::Timer => guest.handle_timeout(now()),
                Wake::Draining => {
                    guest.go_away(self.shared.retry_after_ms());
                    guest.close(CloseCode::GoingAway);
                }
                Wake::Killed => return Err(End::Killed),
                Wake::Answered(..) | Wake::Outbox => {}
            }
        }
    }

    /// Passes the packets that have arrived to the guest.
    fn feed_guest(&mut self, guest: &mut Guest) -> Result<(), End> {
        while guest.wants_input() {
            self.wire.set_limit(guest.max_packet_bytes());
            match self.wire.next_packet(now()).map_err(End::from) {
                Ok(Some(packet)) => guest.handle_packet(self.time(), packet),
                Ok(None) => break,
                Err(End::Close(code)) => guest.close(code),
                Err(end) => return Err(end),
            }
        }
        Ok(())
    }

    /// Counts the guest among the sessions of its source. Returns `false` if the source has too
    /// many.
    fn count_session(&self, permit: &mut ConnectionPermit) -> bool {
        if permit.count_as_authenticated().is_ok() {
            return true;
        }
        if let Some(refused) = self.shared.throttled.source_full.count_occurrence(now()) {
            let max_authenticated_per_source = self.shared.config.connection_limits.max_authenticated_per_source;
            let source = &self.source;
            tracing::warn!(
                refused,
                max_authenticated_per_source,
                %source,
                "logins refused: a source has its maximum number of sessions; `source` is that of the latest login"
            );
        }
        false
    }

    /// Logs a registration or login that exceeds a limit on attempts.
    fn log_if_throttled(&self, error: Option<&CommandError>) {
        if error.is_some_and(|error| error.code == ReplyCode::Throttled)
            && let Some(refused) = self.shared.throttled.attempts.count_occurrence(now())
        {
            let source = &self.source;
            tracing::warn!(
                refused,
                %source,
                "logins or registrations refused: too many attempts; `source` is that of the latest attempt"
            );
        }
    }

    /// Turns a guest that has logged in into a session.
    fn establish_session(&self, guest: Guest, ticket: LoginTicket, login: SuccessfulLogin) -> EstablishedSession {
        let SuccessfulLogin {
            grant,
            outbox,
            attached,
        } = login;
        let caller = grant.caller;
        tracing::info!(connection = self.connection_guard.id().0, source = %self.source, user = caller.user.0, "logged in");
        let logged_in = LoggedIn {
            user: grant.user,
            session_token: grant.session_token,
            device_token: grant.device_token,
            store_epoch: self.shared.service.store_epoch(),
            conversations: attached.conversations,
            has_more: attached.has_more,
            server_time: self.shared.service.now(),
        };
        EstablishedSession {
            session: guest.admit(self.time(), ticket, caller, logged_in),
            session_guard: attached.guard,
            outbox,
        }
    }
}

/// Returns the nodes of the cluster, as clients see them: at most [`MAX_LISTED_NODES`].
fn nodes(shared: &Shared) -> Vec<NodeEntry> {
    let nodes = shared.service.nodes();
    let entry = |node: &NodeInfo| NodeEntry {
        addresses: node.addresses.clone(),
        sessions: node.sessions,
        accepts_no_sessions: node.accepts_no_sessions,
    };
    nodes.iter().take(MAX_LISTED_NODES).map(entry).collect()
}

/// Returns how long a login has to wait, because earlier logins have failed that came from its
/// source or from the network around it, perhaps over the same connection; `None` if it need not
/// wait. A login with a device token or a session token never waits here: the service admits a
/// known device, and limits the attempts with wrong tokens.
fn login_wait(permit: &ConnectionPermit, credentials: &Credentials) -> Option<Throttled> {
    match credentials {
        Credentials::Login(login) if login.device_token.is_none() => {
            let retry_after = permit.login_wait(now())?;
            let limit = ThrottleLimit::Source;
            Some(Throttled { limit, retry_after })
        }
        _ => None,
    }
}

/// Penalises the source of a connection for the reason it was closed, if that was an offence.
fn penalise(permit: &ConnectionPermit, code: CloseCode) {
    let offence = match code {
        CloseCode::ProtocolError | CloseCode::PacketTooLarge => Offence::Malformed,
        CloseCode::Timeout => Offence::TimedOut,
        _ => return,
    };
    permit.penalise(now(), offence);
}

/// A login that the service granted, and the new session, whose events go to `outbox`.
struct SuccessfulLogin {
    grant: LoginGrant,
    outbox: Arc<Outbox>,
    attached: AttachedSession,
}

/// Logs in with `credentials`, and attaches an outbox to the new session.
async fn authenticate(
    shared: &Shared,
    source: Source,
    credentials: Credentials,
) -> Result<SuccessfulLogin, CommandError> {
    let service = &shared.service;
    let grant = match credentials {
        Credentials::Login(login) => service.login(source, login).await?,
        Credentials::Resume(resume) => service.resume(source, resume).await?,
    };
    let outbox = Outbox::new(shared.config.outbox_limits);
    let attached = service.attach(grant.caller, source, Arc::clone(&outbox)).await?;
    Ok(SuccessfulLogin {
        grant,
        outbox,
        attached,
    })
}
