//! Tests with an impostor: another server at the port of a server whose key is pinned.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use chat_core::secure::{RSA_BITS, ServerHandshake, ServerIdentity, ServerKeys};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection};

use super::schemes::{scheme_options, serve, serve_at};
use super::support::TestDevice;

/// Behaviour of an impostor in each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Impostor {
    /// It completes the handshake of SC1 with a key of its own.
    Sc1,
    /// It completes the handshake of TLS with a key of its own.
    Tls,
    /// It closes the connection.
    Closing,
}

/// Keys of [`Impostor::Sc1`].
static KEYS: LazyLock<ServerKeys> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    ServerKeys::new(ServerIdentity::generate(*RSA_BITS.start()).unwrap(), now).unwrap()
});

/// A running impostor. Dropping it frees its port.
struct RunningImpostor {
    address: SocketAddr,
    is_stopped: Arc<AtomicBool>,
    /// Greater than 0 once the impostor has sent its key in a connection.
    presented: Arc<AtomicUsize>,
    /// Bytes that the clients have sent after they received the key.
    disclosed: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Impostor {
    fn start(self, address: SocketAddr) -> RunningImpostor {
        let listener = TcpListener::bind(address).unwrap();
        let (presented, disclosed) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<u8>>>::default());
        let is_stopped = Arc::<AtomicBool>::default();
        let shared = (Arc::clone(&is_stopped), Arc::clone(&presented), Arc::clone(&disclosed));
        let tls = Arc::new(tls_config());
        let thread = thread::spawn(move || {
            let (is_stopped, presented, disclosed) = shared;
            for stream in listener.incoming().map_while(Result::ok) {
                if is_stopped.load(Ordering::SeqCst) {
                    break;
                }
                let received = match self {
                    Self::Closing => continue,
                    Self::Sc1 => serve_sc1(stream, &presented),
                    Self::Tls => serve_tls(stream, &tls, &presented),
                };
                // An error ends the connection during the handshake, before anything is disclosed.
                disclosed.lock().unwrap().extend(received.unwrap_or_default());
            }
        });
        RunningImpostor {
            address,
            is_stopped,
            presented,
            disclosed,
            thread: Some(thread),
        }
    }
}

impl Drop for RunningImpostor {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // ends the wait for a connection
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Answers the handshake of SC1 with the impostor's key. Returns the bytes that arrive after it:
/// none if the client does not speak SC1.
fn serve_sc1(mut stream: TcpStream, presented: &AtomicUsize) -> io::Result<Vec<u8>> {
    let mut handshake = ServerHandshake::new();
    let mut buffer = [0; 4096];
    let hello = loop {
        let read = stream.read(&mut buffer)?;
        match handshake.feed(&buffer[..read]) {
            Ok(Some(hello)) => break hello,
            Ok(None) if read > 0 => {}
            _ => return Ok(Vec::new()), // the client speaks TLS, or has gone
        }
    };
    stream.write_all(&hello.accept(&KEYS, Instant::now()).unwrap().reply)?;
    presented.fetch_add(1, Ordering::SeqCst);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest); // a reset ends the connection like a close
    Ok(rest)
}

fn tls_config() -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![chat_core::transport::tls::ALPN.to_vec()];
    config
}

/// Completes the handshake of TLS if the client does. Returns the data that arrives after it: none
/// if the client does not speak TLS, or refuses the key.
fn serve_tls(mut stream: TcpStream, config: &Arc<ServerConfig>, presented: &AtomicUsize) -> io::Result<Vec<u8>> {
    let mut connection = ServerConnection::new(Arc::clone(config)).unwrap();
    while connection.wants_read() && connection.is_handshaking() {
        if connection.read_tls(&mut stream)? == 0 {
            break;
        }
        let processed = connection.process_new_packets();
        let has_answer = connection.wants_write();
        while connection.wants_write() {
            connection.write_tls(&mut stream)?;
        }
        if processed.is_err() {
            return Ok(Vec::new()); // the client speaks SC1, or has refused the key
        }
        if has_answer {
            presented.fetch_add(1, Ordering::SeqCst);
        }
    }
    let mut rest = Vec::new();
    // A reset ends the connection like a close.
    let _ = rustls::Stream::new(&mut connection, &mut stream).read_to_end(&mut rest);
    Ok(rest)
}

/// Runs commands of alice, who has a session, and of bob, who has only a password, against the
/// impostor. All have to fail with this exit code, and to disclose nothing.
fn assert_refused(scheme: &str, code: i32, alice: &TestDevice, impostor: Impostor) {
    let options = scheme_options(scheme);
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let bob = TestDevice {
        name: "bob".to_owned(),
        ..alice.clone()
    };
    let running = impostor.start(alice.server);
    for (device, command) in [
        (alice, &["whoami"][..]),
        (alice, &["--discover", "whoami"]),
        (alice, &["login"]),
        (&bob, &["login"]),
        (&bob, &["whoami"]),
        (&bob, &["register"]),
    ] {
        let errors = device.fails(code, &[&options[..], command].concat());
        let context = format!("{scheme} {impostor:?} {command:?}: {errors}");
        assert!(!errors.contains("plain"), "{context}");
        assert!(!errors.contains("its port speaks"), "{context}");
        assert_eq!(errors.lines().count(), 1, "{context}");
    }
    let presented = running.presented.load(Ordering::SeqCst);
    assert_eq!(presented > 0, impostor != Impostor::Closing, "{scheme} {impostor:?}");
    let disclosed = running.disclosed.lock().unwrap();
    assert!(disclosed.is_empty(), "{scheme} {impostor:?}: {disclosed:?}");
}

/// Registers alice at a server with this scheme, and replaces the server by impostors. Asserts that
/// commands fail there without disclosing anything or changing the pins, and that the session is
/// still valid at the server afterwards.
fn assert_impostors_get_no_secret(scheme: &str, directory: &Path) {
    let (server, alice, _) = serve(scheme, directory);
    let options = scheme_options(scheme);
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    alice.ok(&[&options[..], &["register"]].concat());
    let known_hosts = || std::fs::read_to_string(alice.profile.join("known_hosts")).unwrap();
    let pins = known_hosts();
    server.kill();
    let other = if scheme == "sc1" { "tls" } else { "sc1" };
    for impostor in [Impostor::Sc1, Impostor::Tls, Impostor::Closing] {
        let speaks = match impostor {
            Impostor::Sc1 => "sc1",
            Impostor::Tls => "tls",
            Impostor::Closing => "",
        };
        for requested in [scheme, other] {
            let code = if speaks == requested { 76 } else { 69 };
            assert_refused(requested, code, &alice, impostor);
        }
    }
    assert_eq!(known_hosts(), pins);
    // The session was neither disclosed nor given up.
    let _server = serve_at(scheme, alice.server.port(), directory);
    let mut whoami = alice.command(&[&options[..], &["whoami"]].concat());
    assert!(whoami.env_remove("CHAT_PASSWORD").output().unwrap().status.success());
}

#[test]
fn impostor_of_a_pinned_sc1_server_gets_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    assert_impostors_get_no_secret("sc1", directory.path());
}

#[test]
fn impostor_of_a_pinned_tls_server_gets_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    assert_impostors_get_no_secret("tls", directory.path());
}
