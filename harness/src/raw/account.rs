//! [`Account`].

use std::io;
use std::net::SocketAddr;

use chat_core::codec::{Answer, Failure, LoggedIn, RequestKind};
use chat_core::model::{DeviceId, Login, Resume, Secret, UserId, UserName, UserRef};
use chat_core::secure::Fingerprint;
use chat_core::testkit::{PASSWORD, Peer};

use crate::dump::epoch;
use crate::step::step;

/// Somebody who has an account, and a device that need not show the password again.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) user: u64,
    pub(crate) device: DeviceId,
    /// The history at its first login.
    pub(crate) epoch: String,
    token: Secret,
}

impl Account {
    /// Registers somebody and logs in. That there is such an account already is fine, if it is of a swarm.
    pub(crate) async fn enroll(server: SocketAddr, pin: Fingerprint, name: &str) -> io::Result<(Peer, Self)> {
        let mut peer = step(server, Peer::connect(server, pin)).await?;
        step(server, peer.register(name)).await?;
        let device = DeviceId::random();
        let login = Login::new(
            UserName::parse(name).map(UserRef::Name).map_err(io::Error::other)?,
            Secret::new(PASSWORD),
            device,
        )
        .device_name("swarm");
        let logged_in = begun(step(server, peer.ask(RequestKind::Login(login))).await?)?;
        let account = Self {
            name: name.to_owned(),
            user: logged_in.user.id.0,
            device,
            epoch: epoch(logged_in.store_epoch),
            token: logged_in
                .session_token
                .ok_or_else(|| io::Error::other("a login without a session token"))?,
        };
        Ok((peer, account))
    }

    /// Begins another session of the device, which ends the one before.
    pub(crate) async fn resume(&self, peer: &mut Peer) -> io::Result<LoggedIn> {
        let resume = Resume::new(UserId(self.user), self.device, self.token.clone());
        begun(step("a resume", peer.ask(RequestKind::Resume(resume))).await?)
    }
}

fn begun(answer: Result<Answer, Failure>) -> io::Result<LoggedIn> {
    match answer {
        Ok(Answer::LoggedIn(logged_in)) => Ok(*logged_in),
        Ok(other) => Err(io::Error::other(format!("not an answer to a login: {other:?}"))),
        Err(failure) => Err(io::Error::other(failure.to_string())),
    }
}
