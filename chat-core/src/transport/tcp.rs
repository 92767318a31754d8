//! TCP sockets, with options for small packets and for detecting peers that vanished.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener as TokioListener, TcpSocket, TcpStream};

use super::{PeerAddr, Stream};

/// A TCP connection.
pub type TcpTransport = Stream<TcpStream>;

/// Options of TCP connections and listeners. Keep-alive probes and `user_timeout` detect a peer
/// that vanished without closing its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpOptions {
    /// Idle time before the first keep-alive probe. Default 30 s.
    pub keepalive_idle: Duration,
    /// Interval between keep-alive probes. Default 10 s.
    pub keepalive_interval: Duration,
    /// Number of unanswered probes that end the connection; only on Unix. Default 3. On Linux, it
    /// has no effect unless `user_timeout` is zero.
    pub keepalive_probes: u32,
    /// Maximum time that written bytes may stay unacknowledged, and for which a peer that answers
    /// no probe may be silent (`TCP_USER_TIMEOUT`, only on Linux). Default 60 s.
    pub user_timeout: Duration,
    /// Maximum number of connections that wait to be accepted. The system may lower it. Default
    /// 1024.
    pub max_backlog: u32,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            keepalive_idle: Duration::from_secs(30),
            keepalive_interval: Duration::from_secs(10),
            keepalive_probes: 3,
            user_timeout: Duration::from_secs(60),
            max_backlog: 1024,
        }
    }
}

/// Address that is bound but not listened on. The operating system refuses connections to it, and
/// does not assign its port to programs that ask for any free port. A server that closes a listener
/// for a while keeps the port in this way.
#[derive(Debug)]
pub struct TcpPort {
    socket: TcpSocket,
    options: TcpOptions,
}

impl TcpPort {
    /// Binds `address`; port 0 takes any free port. The port can be bound again right after a
    /// restart, and while connections to it are open.
    ///
    /// # Errors
    /// The address is in use, not of this machine, or not allowed.
    pub fn bind(address: SocketAddr, options: TcpOptions) -> io::Result<Self> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { socket, options })
    }

    /// Starts to listen on the address.
    ///
    /// # Errors
    /// The error of the system call. Another program may have bound the address with `SO_REUSEADDR`
    /// and listen there. The address is no longer bound after an error.
    pub fn listen(self) -> io::Result<TcpListener> {
        let Self { socket, options } = self;
        let inner = socket.listen(options.max_backlog)?;
        let address = inner.local_addr()?;
        Ok(TcpListener {
            inner,
            options,
            address,
        })
    }
}

/// Listener for TCP connections to one address.
#[derive(Debug)]
pub struct TcpListener {
    inner: TokioListener,
    options: TcpOptions,
    address: SocketAddr,
}

impl TcpListener {
    /// Listens on `address`; port 0 takes any free port. The port can be bound again right after a
    /// restart.
    ///
    /// # Errors
    /// The address is in use, not of this machine, or not allowed.
    pub fn bind(address: SocketAddr, options: TcpOptions) -> io::Result<Self> {
        TcpPort::bind(address, options)?.listen()
    }

    /// Returns the address of the listener, with the port that was bound.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the options of the listener.
    #[must_use]
    pub const fn options(&self) -> TcpOptions {
        self.options
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// The error of the system call. Some errors concern one peer only, and others (no file
    /// descriptor left) pass with time: try again, but not in a tight loop.
    ///
    /// # Cancel safety
    /// Dropping the future loses no connection.
    pub async fn accept(&self) -> io::Result<TcpTransport> {
        let (stream, peer) = self.inner.accept().await?;
        Ok(with_options(stream, peer, &self.options))
    }
}

/// Connects to `address`. The operating system may retry for minutes, so set a deadline.
///
/// # Errors
/// The error of the system call: no program listens there, or the address cannot be reached.
pub async fn connect(address: SocketAddr, options: &TcpOptions) -> io::Result<TcpTransport> {
    let stream = TcpStream::connect(address).await?;
    Ok(with_options(stream, address, options))
}

/// Sets the options of a connection. If an option cannot be set, the connection is either closed,
/// which the next read reports, or usable without this option and the options that follow it.
fn with_options(stream: TcpStream, peer: SocketAddr, options: &TcpOptions) -> TcpTransport {
    if let Err(error) = set_options(&stream, options) {
        tracing::debug!(%peer, %error, "cannot set TCP options");
    }
    Stream::new(stream, PeerAddr::Ip(peer))
}

fn set_options(stream: &TcpStream, options: &TcpOptions) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(options.keepalive_idle)
        .with_interval(options.keepalive_interval);
    #[cfg(unix)]
    let keepalive = keepalive.with_retries(options.keepalive_probes);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(options.user_timeout))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::transport::Transport as _;

    #[tokio::test]
    async fn connection_carries_bytes_both_ways_with_nodelay_keepalive_and_user_timeout() {
        let options = TcpOptions::default();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let address = listener.local_addr();
        let (client, server) = tokio::join!(connect(address, &options), listener.accept());
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        assert_eq!(client.peer(), PeerAddr::Ip(address));
        let client_address = client.inner().local_addr().unwrap();
        assert_eq!(server.peer(), PeerAddr::Ip(client_address));

        for stream in [client.inner(), server.inner()] {
            assert!(stream.nodelay().unwrap());
            let socket = SockRef::from(stream);
            assert!(socket.keepalive().unwrap());
            #[cfg(target_os = "linux")]
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(options.user_timeout));
        }

        client.write_all(b"ping").await.unwrap();
        client.shutdown().await.unwrap();
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"ping");
        server.write_all(b"pong").await.unwrap();
        drop(server);
        received.clear();
        client.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"pong");
    }

    #[tokio::test]
    async fn listener_reports_a_port_in_use() {
        let options = TcpOptions::default();
        let first = TcpListener::bind("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let taken = first.local_addr();
        let error = TcpListener::bind(taken, options).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn bound_port_refuses_connections_until_it_listens_again() {
        let options = TcpOptions::default();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let address = listener.local_addr();
        let (client, server) = tokio::join!(connect(address, &options), listener.accept());
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        drop(listener);
        let port = TcpPort::bind(address, options).unwrap();
        let error = connect(address, &options).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        // A program that does not set SO_REUSEADDR cannot bind the address.
        let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        assert!(other.bind(&address.into()).is_err());
        // The open connection still works.
        client.write_all(b"ping").await.unwrap();
        let mut received = [0; 4];
        server.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"ping");
        let listener = port.listen().unwrap();
        assert_eq!(listener.local_addr(), address);
        let (client, server) = tokio::join!(connect(address, &options), listener.accept());
        assert!(client.is_ok() && server.is_ok());
    }
}
