//! [`Account`]: a registered user with one device.

use std::io;
use std::net::SocketAddr;

use chat_core::codec::{Answer, Failure, LoggedIn, RequestKind};
use chat_core::model::{DeviceId, Login, Resume, Secret, UserId, UserName, UserRef};
use chat_core::secure::Fingerprint;
use chat_core::testkit::{PASSWORD, Peer};

use crate::deadline::with_deadline;
use crate::dump::epoch;

/// A registered user with one device, which can start sessions with its session token.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    /// Id of the user.
    pub(crate) user: u64,
    pub(crate) device: DeviceId,
    /// Store epoch at the first login, in hexadecimal.
    pub(crate) epoch: String,
    /// Session token, which replaces the password.
    token: Secret,
}

impl Account {
    /// Registers an account and logs in with a new device. The account may already exist, with the
    /// password of the test kit.
    pub(crate) async fn enroll(server: SocketAddr, pin: Fingerprint, name: &str) -> io::Result<(Peer, Self)> {
        let mut peer = with_deadline(server, Peer::connect(server, pin)).await?;
        with_deadline(server, peer.register(name)).await?;
        let device = DeviceId::random();
        let mut login = Login::new(
            UserName::parse(name).map(UserRef::Name).map_err(io::Error::other)?,
            Secret::new(PASSWORD),
            device,
        );
        login.device_name = "swarm".to_owned();
        let logged_in = expect_logged_in(with_deadline(server, peer.ask(RequestKind::Login(login))).await?)?;
        let account = Self {
            name: name.to_owned(),
            user: logged_in.user.id.0,
            device,
            epoch: epoch(logged_in.store_epoch),
            token: logged_in
                .session_token
                .ok_or_else(|| io::Error::other("the server answered Login without a session token"))?,
        };
        Ok((peer, account))
    }

    /// Starts another session of the device with its session token, on the connection `peer`. The
    /// new session replaces the previous one.
    pub(crate) async fn resume(&self, peer: &mut Peer) -> io::Result<LoggedIn> {
        let resume = Resume::new(UserId(self.user), self.device, self.token.clone());
        expect_logged_in(with_deadline("Resume", peer.ask(RequestKind::Resume(resume))).await?)
    }
}

fn expect_logged_in(answer: Result<Answer, Failure>) -> io::Result<LoggedIn> {
    match answer {
        Ok(Answer::LoggedIn(logged_in)) => Ok(*logged_in),
        Ok(other) => Err(io::Error::other(format!(
            "the server answered Login or Resume with {other:?}"
        ))),
        Err(failure) => Err(io::Error::other(failure.to_string())),
    }
}
