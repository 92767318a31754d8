//! A connection before login.

use std::sync::Arc;
use std::time::Instant;

use super::poll::{Interest, Wake};
use super::{Connection, End, unless_killed};
use crate::auth::{ConnectionPermit, Offence};
use crate::cluster::NodeInfo;
use crate::codec::{Failure, LoggedIn, NodeEntry};
use crate::engine::{Attachment, CommandError, Service};
use crate::model::{Admission, CloseCode, ConversationInfo, ReplyCode, Source};
use crate::router::Outbox;
use crate::server::wire::WireError;
use crate::server::{Shared, now};
use crate::session::{Authenticating, Credentials, Guest, GuestAction, Session};

/// Nodes that a client is told of: enough to choose from.
const NODES_TOLD: usize = 100;

/// A guest that has become a session.
pub(super) struct Admitted {
    pub(super) session: Session,
    pub(super) attachment: Attachment,
    pub(super) outbox: Arc<Outbox>,
}

impl Connection<'_> {
    /// Serves a guest until it has logged in.
    pub(super) async fn greet(&mut self, accepted: Instant, permit: &mut ConnectionPermit) -> Result<Admitted, End> {
        let mut guest = Guest::new(
            Arc::clone(&self.shared.session),
            self.shared.engine.store_epoch(),
            accepted,
            now(),
        );
        loop {
            self.hear_guest(&mut guest, permit)?;
            while let Some(action) = guest.poll_action() {
                match action {
                    GuestAction::Send(frames) => self.frames.push(frames),
                    GuestAction::Close(code) => {
                        punish(permit, code);
                        return Err(End::Close(code));
                    }
                    GuestAction::ListNodes(ticket) => guest.handle_nodes(now(), ticket, nodes(self.shared)),
                    GuestAction::Register(ticket, registration) => {
                        let registering = self.shared.engine.register(self.source, registration);
                        let result = unless_killed(&self.guard, registering).await?;
                        guest.handle_registered(now(), ticket, result.map_err(Failure::from));
                    }
                    GuestAction::Authenticate(ticket, credentials) => {
                        // Before the login: it ends the device's older session, which had better go on if this one cannot begin.
                        self.count(permit)?;
                        // In a box: most of a guest's life is waiting.
                        let authenticating = Box::pin(authenticate(self.shared, self.source, credentials));
                        match unless_killed(&self.guard, authenticating).await? {
                            Ok(begun) => return Ok(self.admit(guest, ticket, begun)),
                            Err(error) => {
                                if error.code == ReplyCode::BadCredentials {
                                    permit.penalise(now(), Offence::AuthFailed);
                                }
                                permit.unauthenticate();
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
                outbox: None,
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
                Wake::Answered(..) | Wake::Pushed => {}
            }
        }
    }

    /// Hands over what has arrived.
    fn hear_guest(&mut self, guest: &mut Guest, permit: &ConnectionPermit) -> Result<(), End> {
        while guest.wants_input() {
            self.wire.set_limit(guest.max_packet_bytes());
            match self.wire.next_packet(now()).map_err(End::from) {
                Ok(Some(packet)) => guest.handle_packet(self.moment(), packet),
                Ok(None) => break,
                Err(End::Close(code)) => {
                    punish(permit, code);
                    guest.close(code);
                }
                Err(end) => return Err(end),
            }
        }
        Ok(())
    }

    /// Counts the guest among its source's sessions, if there is room for one more.
    fn count(&self, permit: &mut ConnectionPermit) -> Result<(), End> {
        if permit.authenticate().is_ok() {
            return Ok(());
        }
        if let Some(refused) = self.shared.rejections.one_source.hit(now()) {
            let most = self.shared.config.connection_limits.authenticated_per_source;
            let source = &self.source;
            tracing::warn!(
                refused,
                most,
                ?source,
                "logins refused: their source has as many connections as it may have"
            );
        }
        Err(End::Close(CloseCode::Overloaded))
    }

    fn admit(&self, guest: Guest, ticket: Authenticating, begun: Begun) -> Admitted {
        let Begun {
            admission,
            outbox,
            attachment,
            conversations,
        } = begun;
        let caller = admission.caller;
        tracing::info!(connection = self.guard.id().0, source = ?self.source, user = caller.user.0, "logged in");
        let logged_in = LoggedIn {
            user: admission.user,
            session_token: admission.session_token,
            device_token: admission.device_token,
            store_epoch: self.shared.engine.store_epoch(),
            conversations,
            server_time: self.shared.engine.now(),
        };
        Admitted {
            session: guest.admit(self.moment(), ticket, caller, logged_in),
            attachment,
            outbox,
        }
    }
}

/// The nodes there are, as clients are told of them.
fn nodes(shared: &Shared) -> Vec<NodeEntry> {
    let nodes = shared.engine.nodes();
    let entry = |node: &NodeInfo| NodeEntry {
        addresses: node.addresses.clone(),
        sessions: node.sessions,
        draining: node.draining,
    };
    nodes.iter().take(NODES_TOLD).map(entry).collect()
}

/// What a source is remembered for.
fn punish(permit: &ConnectionPermit, code: CloseCode) {
    let offence = match code {
        CloseCode::ProtocolError | CloseCode::PacketTooLarge => Offence::Malformed,
        CloseCode::Timeout => Offence::TimedOut,
        _ => return,
    };
    permit.penalise(now(), offence);
}

/// A login that succeeded.
struct Begun {
    admission: Admission,
    outbox: Arc<Outbox>,
    attachment: Attachment,
    conversations: Vec<ConversationInfo>,
}

async fn authenticate(shared: &Shared, source: Source, credentials: Credentials) -> Result<Begun, CommandError> {
    let admission = match credentials {
        Credentials::Login(login) => shared.engine.login(source, login).await?,
        Credentials::Resume(resume) => shared.engine.resume(source, resume).await?,
    };
    let outbox = Outbox::new(shared.config.outbox_limits);
    let (attachment, conversations) = shared
        .engine
        .open(admission.caller, source, Arc::clone(&outbox))
        .await?;
    Ok(Begun {
        admission,
        outbox,
        attachment,
        conversations,
    })
}
