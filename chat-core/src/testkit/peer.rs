//! A raw protocol client over SC1: no outbox, no reconnecting, nothing between a test and the wire.

use std::io;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::codec::frame::{CLIENT_LIMIT, FrameDecoder};
use crate::codec::{Answer, Failure, Hello, Incoming, LoggedIn, Request, RequestId, RequestKind, client};
use crate::model::{Command, DeviceId, Login, Outcome, Push, Registration, Secret, UserName, UserRef};
use crate::secure::{ClientHandshake, ClientProgress, Fingerprint, Opened, Opener, PinPolicy, Sealer};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The password of every account that a [`Peer`] makes.
pub const PASSWORD: &str = "of every test account";

/// Bytes to read at once, at least: a whole record.
const READ: usize = 16 * 1024;

/// A connection, after the handshake.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    sealer: Sealer,
    opener: Opener,
    wire: BytesMut,
    frames: FrameDecoder,
    next_id: u64,
}

impl Peer {
    /// Connects, shakes hands and says hello.
    ///
    /// # Errors
    /// The server is not there, is not who it should be, or refuses.
    pub async fn connect(server: SocketAddr, fingerprint: Fingerprint) -> io::Result<Self> {
        let (peer, _) = Self::with(server, PinPolicy::exactly(fingerprint)).await?;
        Ok(peer)
    }

    /// The same with a server of which nothing is known yet; its key's fingerprint.
    ///
    /// # Errors
    /// As [`Peer::connect`].
    pub async fn meet(server: SocketAddr) -> io::Result<(Self, Fingerprint)> {
        Self::with(server, PinPolicy::FirstContact).await
    }

    async fn with(server: SocketAddr, pins: PinPolicy) -> io::Result<(Self, Fingerprint)> {
        let mut stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let mut handshake = ClientHandshake::new(&server.to_string(), pins).map_err(io::Error::other)?;
        stream.write_all(handshake.hello()).await?;
        let mut wire = BytesMut::with_capacity(2048);
        let connected = loop {
            wire.clear();
            if stream.read_buf(&mut wire).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let unix_now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_err(io::Error::other)?
                .as_secs();
            match handshake
                .feed(Instant::now(), unix_now, &wire)
                .map_err(io::Error::other)?
            {
                ClientProgress::Done(connected) => break connected,
                ClientProgress::NeedMore => {}
                other => return Err(io::Error::other(format!("the server refuses: {other:?}"))),
            }
        };
        let (sealer, opener) = connected.channel.split();
        let frames = FrameDecoder::new(CLIENT_LIMIT);
        let mut peer = Self {
            stream,
            sealer,
            opener,
            wire: BytesMut::new(),
            frames,
            next_id: 1,
        };
        let hello = Hello {
            min_version: 1,
            max_version: 1,
            client: "peer".into(),
        };
        peer.ask(RequestKind::Hello(hello)).await?.map_err(refused)?;
        Ok((peer, connected.fingerprint))
    }

    /// Makes an account of this name; that there is one already is fine.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn register(&mut self, name: &str) -> io::Result<()> {
        let registration = Registration {
            name: user(name)?,
            password: Secret::new(PASSWORD),
            display_name: None,
        };
        let _ = self.ask(RequestKind::Register(registration)).await?;
        Ok(())
    }

    /// Logs in as this user, on a new device.
    ///
    /// # Errors
    /// The connection broke, or the server refuses.
    pub async fn login(&mut self, name: &str) -> io::Result<LoggedIn> {
        let login = Login {
            account: UserRef::Name(user(name)?),
            secret: Secret::new(PASSWORD),
            device: DeviceId::random(),
            device_name: "peer".into(),
            device_token: None,
        };
        match self.ask(RequestKind::Login(login)).await?.map_err(refused)? {
            Answer::LoggedIn(logged_in) => Ok(*logged_in),
            other => Err(io::Error::other(format!("not an answer to a login: {other:?}"))),
        }
    }

    /// Runs a command and waits for its outcome.
    ///
    /// # Errors
    /// The connection broke, or the server refuses.
    pub async fn run(&mut self, command: Command) -> io::Result<Outcome> {
        match self.ask(RequestKind::Command(command)).await?.map_err(refused)? {
            Answer::Outcome(outcome) => Ok(outcome),
            other => Err(io::Error::other(format!("not an outcome: {other:?}"))),
        }
    }

    /// Asks, and waits for the answer; pushes in between are dropped.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn ask(&mut self, kind: RequestKind) -> io::Result<Result<Answer, Failure>> {
        let id = self.send(kind).await?;
        loop {
            if let Incoming::Reply { request_id, result } = self.next().await?
                && request_id == id
            {
                return Ok(result);
            }
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(&mut self, kind: RequestKind) -> io::Result<RequestId> {
        let id = self.id_after(0);
        self.send_all([kind]).await?;
        Ok(id)
    }

    /// Sends requests at once: in one record, if they fit into one, and with one write. Their ids follow one another.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send_all(&mut self, kinds: impl IntoIterator<Item = RequestKind>) -> io::Result<()> {
        let mut out = BytesMut::with_capacity(512);
        let next_id = &mut self.next_id;
        let write = |out: &mut BytesMut| {
            for kind in kinds {
                let id = RequestId(*next_id);
                *next_id += 1;
                client::encode_request(&Request { id, kind }, out);
            }
        };
        self.sealer
            .seal_with(Instant::now(), &mut out, write)
            .map_err(io::Error::other)?;
        self.stream.write_all(&out).await
    }

    /// The id that a request gets which is sent after so many others.
    #[must_use]
    pub const fn id_after(&self, others: u64) -> RequestId {
        RequestId(self.next_id + others)
    }

    /// The next push; answers in between are dropped.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn push(&mut self) -> io::Result<Push> {
        loop {
            if let Incoming::Push(push) = self.next().await? {
                return Ok(push);
            }
        }
    }

    /// The next packet.
    ///
    /// # Errors
    /// The connection broke.
    ///
    /// # Cancel safety
    /// What was read stays for the next call.
    pub async fn next(&mut self) -> io::Result<Incoming> {
        loop {
            if let Some(incoming) = self.received()? {
                return Ok(incoming);
            }
            self.wire.reserve(READ);
            if self.stream.read_buf(&mut self.wire).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next packet of those that were read already.
    ///
    /// # Errors
    /// The connection broke.
    pub fn received(&mut self) -> io::Result<Option<Incoming>> {
        loop {
            if let Some(packet) = self.frames.next_packet().map_err(io::Error::other)? {
                return client::decode(packet).map(Some).map_err(io::Error::other);
            }
            match self
                .opener
                .feed(Instant::now(), &mut self.wire)
                .map_err(io::Error::other)?
            {
                Opened::Data(plain) => self.frames.feed(plain),
                Opened::Close(code) => return Err(io::Error::other(format!("closed by the server: {code}"))),
                Opened::NeedMore => return Ok(None),
            }
        }
    }
}

fn user(name: &str) -> io::Result<UserName> {
    UserName::parse_any(name).map_err(io::Error::other)
}

fn refused(failure: Failure) -> io::Error {
    io::Error::other(failure.to_string())
}
