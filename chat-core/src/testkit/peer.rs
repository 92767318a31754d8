//! [`Peer`]: a client of the raw protocol, without outbox and reconnection.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Instant;

use crate::codec::frame::{FrameDecoder, MAX_SERVER_PACKET_BYTES};
use crate::codec::{Answer, Failure, Hello, Incoming, LoggedIn, Request, RequestId, RequestKind, client};
use crate::commands::{Commands, UnexpectedOutcome};
use crate::model::{Command, DeviceId, Login, Outcome, Push, Registration, Secret, TextError, UserName, UserRef};
use crate::secure::{ClientHandshake, ClientProgress, Fingerprint, Opened, Opener, PinPolicy, Sealer};
use crate::time::wall_clock;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// Password of every account that a [`Peer`] registers.
pub const PASSWORD: &str = "test password";

/// Number of bytes for which space is reserved before each read: the maximum content of one record
/// of SC1.
const READ_SIZE: usize = 16 * 1024;

/// Client of the raw protocol, over SC1 (the encrypted transport of the engine) or over a stream
/// that needs no encryption.
pub struct Peer {
    stream: Pin<Box<dyn ByteStream>>,
    /// Keys of SC1; `None` over a stream that needs no encryption.
    channel: Option<(Sealer, Opener)>,
    /// Bytes that were received and not yet decrypted, or, without SC1, not yet given to `frames`.
    wire: BytesMut,
    frames: FrameDecoder,
    next_id: u64,
}

trait ByteStream: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> ByteStream for T {}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("channel", &self.channel)
            .field("next_id", &self.next_id)
            .finish_non_exhaustive()
    }
}

impl Peer {
    /// Connects to a server over TCP and SC1, and exchanges `Hello`.
    ///
    /// # Errors
    /// The server cannot be reached, the connection broke, or the server has a different key or
    /// rejects the connection.
    pub async fn connect(server: SocketAddr, fingerprint: Fingerprint) -> io::Result<Self> {
        let (peer, _) = Self::connect_with(server, PinPolicy::exactly(fingerprint)).await?;
        Ok(peer)
    }

    /// Connects like [`Peer::connect`] to a server whose key is not known yet. Accepts any key, and
    /// returns its fingerprint too.
    ///
    /// # Errors
    /// The server cannot be reached, the connection broke, or the server rejects the connection.
    pub async fn connect_unpinned(server: SocketAddr) -> io::Result<(Self, Fingerprint)> {
        Self::connect_with(server, PinPolicy::FirstContact).await
    }

    async fn connect_with(server: SocketAddr, pins: PinPolicy) -> io::Result<(Self, Fingerprint)> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Self::handshake(Box::pin(stream), &server.to_string(), pins).await
    }

    /// Performs the handshake of SC1 over `stream`, and exchanges `Hello`.
    ///
    /// # Errors
    /// The stream broke, or the server has a different key or rejects the connection.
    pub async fn sc1(
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        fingerprint: Fingerprint,
    ) -> io::Result<Self> {
        let pins = PinPolicy::exactly(fingerprint);
        let (peer, _) = Self::handshake(Box::pin(stream), "", pins).await?;
        Ok(peer)
    }

    /// Exchanges `Hello` over `stream`, which needs no encryption.
    ///
    /// # Errors
    /// The stream broke, or the server rejects the connection.
    pub async fn plain(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> io::Result<Self> {
        Self::exchange_hello(Box::pin(stream), None).await
    }

    async fn handshake(
        mut stream: Pin<Box<dyn ByteStream>>,
        server_name: &str,
        pins: PinPolicy,
    ) -> io::Result<(Self, Fingerprint)> {
        let mut handshake = ClientHandshake::new(server_name, pins).map_err(io::Error::other)?;
        stream.write_all(handshake.hello()).await?;
        stream.flush().await?;
        let mut wire = BytesMut::with_capacity(2048);
        let connected = loop {
            wire.clear();
            if stream.read_buf(&mut wire).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let unix_now = wall_clock().unix_seconds();
            match handshake
                .feed(Instant::now(), unix_now, &wire)
                .map_err(io::Error::other)?
            {
                ClientProgress::Done(connected) => break connected,
                ClientProgress::NeedMore => {}
                other => {
                    return Err(io::Error::other(format!(
                        "the server rejected the handshake: {other:?}"
                    )));
                }
            }
        };
        let peer = Self::exchange_hello(stream, Some(connected.channel.split())).await?;
        Ok((peer, connected.fingerprint))
    }

    async fn exchange_hello(stream: Pin<Box<dyn ByteStream>>, channel: Option<(Sealer, Opener)>) -> io::Result<Self> {
        let mut peer = Self {
            stream,
            channel,
            wire: BytesMut::new(),
            frames: FrameDecoder::new(MAX_SERVER_PACKET_BYTES),
            next_id: 1,
        };
        let hello = Hello {
            min_version: 1,
            max_version: 1,
            client: "peer".into(),
        };
        peer.ask(RequestKind::Hello(hello)).await?.map_err(failure_error)?;
        Ok(peer)
    }

    /// Registers an account with this name and [`PASSWORD`]. Ignores a refusal by the server, for
    /// example because the name is taken.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask), or `name` is not a valid user name.
    pub async fn register(&mut self, name: &str) -> io::Result<()> {
        let registration = Registration {
            name: user_name(name)?,
            password: Secret::new(PASSWORD),
            display_name: None,
        };
        let _ = self.ask(RequestKind::Register(registration)).await?;
        Ok(())
    }

    /// Logs in as this user with [`PASSWORD`], on a new device.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask); or the server returned an error or another answer than
    /// [`Answer::LoggedIn`], or `name` is not a valid user name.
    pub async fn login(&mut self, name: &str) -> io::Result<LoggedIn> {
        let login = Login {
            account: Some(UserRef::Name(user_name(name)?)),
            secret: Secret::new(PASSWORD),
            device: DeviceId::random(),
            device_name: "peer".into(),
            device_token: None,
        };
        match self.ask(RequestKind::Login(login)).await?.map_err(failure_error)? {
            Answer::LoggedIn(logged_in) => Ok(*logged_in),
            other => Err(io::Error::other(format!("the server answered a login with {other:?}"))),
        }
    }

    /// Returns typed commands of this peer, which run one after another.
    pub fn commands(&mut self) -> PeerCommands<'_> {
        PeerCommands { peer: Mutex::new(self) }
    }

    /// Executes a command and waits for its outcome.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask), or the server returned an error or another answer than
    /// [`Answer::Outcome`].
    pub async fn run(&mut self, command: Command) -> io::Result<Outcome> {
        match self.ask(RequestKind::Command(command)).await?.map_err(failure_error)? {
            Answer::Outcome(outcome) => Ok(outcome),
            other => Err(io::Error::other(format!(
                "the server answered a command with {other:?}"
            ))),
        }
    }

    /// Sends a request and waits for its reply. Returns the answer, or the failure that the server
    /// reported. Drops all other packets that arrive before the reply.
    ///
    /// # Errors
    /// The connection broke, or the server has closed it or sent an invalid packet.
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

    /// Sends a request and returns its id.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(&mut self, kind: RequestKind) -> io::Result<RequestId> {
        let id = self.id_after(0);
        self.send_all([kind]).await?;
        Ok(id)
    }

    /// Sends requests with one write, in one record if they fit into one. Their ids are
    /// consecutive.
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
        match &mut self.channel {
            Some((sealer, _)) => sealer
                .seal_with(Instant::now(), &mut out, write)
                .map_err(io::Error::other)?,
            None => write(&mut out),
        }
        self.stream.write_all(&out).await?;
        self.stream.flush().await
    }

    /// Returns the id of the request that follows the next `others` requests: `id_after(0)` is the
    /// id of the next request.
    #[must_use]
    pub const fn id_after(&self, others: u64) -> RequestId {
        RequestId(self.next_id + others)
    }

    /// Waits for the next push. Drops all other packets that arrive before it.
    ///
    /// # Errors
    /// The connection broke, or the server has closed it or sent an invalid packet.
    pub async fn next_push(&mut self) -> io::Result<Push> {
        loop {
            if let Incoming::Push(push) = self.next().await? {
                return Ok(push);
            }
        }
    }

    /// Waits for the next packet.
    ///
    /// # Errors
    /// The connection broke, or the server has closed it or sent an invalid packet.
    ///
    /// # Cancel safety
    /// Safe: bytes that were read are kept for the next call.
    pub async fn next(&mut self) -> io::Result<Incoming> {
        loop {
            if let Some(incoming) = self.next_buffered()? {
                return Ok(incoming);
            }
            self.wire.reserve(READ_SIZE);
            if self.stream.read_buf(&mut self.wire).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Returns the next packet if it has been read already.
    ///
    /// # Errors
    /// The server has closed the SC1 channel, or sent an invalid record or packet.
    pub fn next_buffered(&mut self) -> io::Result<Option<Incoming>> {
        loop {
            if let Some(packet) = self.frames.next_packet().map_err(io::Error::other)? {
                return client::decode(packet).map(Some).map_err(io::Error::other);
            }
            let Some((_, opener)) = &mut self.channel else {
                if self.wire.is_empty() {
                    return Ok(None);
                }
                self.frames.feed(self.wire.split());
                continue;
            };
            match opener.feed(Instant::now(), &mut self.wire).map_err(io::Error::other)? {
                Opened::Data(plain) => self.frames.feed(plain),
                Opened::Close(code) => return Err(io::Error::other(format!("closed by the server: {code}"))),
                Opened::NeedMore => return Ok(None),
            }
        }
    }
}

/// Typed commands of a [`Peer`], which run one after another. Other packets that arrive before the
/// reply to a command are dropped.
#[derive(Debug)]
pub struct PeerCommands<'a> {
    peer: Mutex<&'a mut Peer>,
}

impl Commands for PeerCommands<'_> {
    type Error = PeerError;

    async fn execute(&self, command: Command) -> Result<Outcome, PeerError> {
        Ok(self.peer.lock().await.run(command).await?)
    }
}

/// Error of a command of a [`Peer`]: its connection broke, the server refused the command or gave
/// an outcome of another kind, or a text is not valid.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct PeerError(#[from] io::Error);

impl From<PeerError> for io::Error {
    fn from(error: PeerError) -> Self {
        error.0
    }
}

impl From<UnexpectedOutcome> for PeerError {
    fn from(error: UnexpectedOutcome) -> Self {
        Self(io::Error::other(error))
    }
}

impl From<TextError> for PeerError {
    fn from(error: TextError) -> Self {
        Self(io::Error::other(error))
    }
}

fn user_name(name: &str) -> io::Result<UserName> {
    UserName::parse_any(name).map_err(io::Error::other)
}

fn failure_error(failure: Failure) -> io::Error {
    io::Error::other(failure.to_string())
}
