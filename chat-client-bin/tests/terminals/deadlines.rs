//! Tests of commands whose server does not answer, breaks the connection, or asks to wait.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::{PASSWORD, TestDevice, TestServer};

/// Treatment of what the server sends after the first bytes of each connection.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The connection is closed.
    Cut,
    /// The bytes are changed.
    Damage,
    /// Nothing arrives.
    Freeze,
}

/// A TCP proxy that lets the first bytes of the server pass on each connection, and then has a
/// fault.
struct FaultyProxy {
    address: SocketAddr,
    /// Number of bytes of the server that pass on each connection.
    limit: Arc<AtomicUsize>,
    /// Number of bytes that the server has sent on the latest connection.
    sent: Arc<AtomicUsize>,
    fault: Arc<Mutex<Fault>>,
}

impl FaultyProxy {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            limit: Arc::new(AtomicUsize::new(usize::MAX)),
            sent: Arc::default(),
            fault: Arc::new(Mutex::new(Fault::Cut)),
        };
        let (limit, sent, fault) = (
            Arc::clone(&proxy.limit),
            Arc::clone(&proxy.sent),
            Arc::clone(&proxy.fault),
        );
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(server) else {
                    continue;
                };
                sent.store(0, Ordering::SeqCst);
                let up = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || copy(up.0, up.1));
                let limit = limit.load(Ordering::SeqCst);
                let (sent, fault) = (Arc::clone(&sent), *fault.lock().unwrap());
                thread::spawn(move || copy_with_fault(server, client, limit, fault, &sent));
            }
        });
        proxy
    }

    /// Lets as many bytes of each further connection pass as the server sends to `whoami`, which
    /// only logs in.
    fn fail_after_login(&self, device: &TestDevice) {
        self.limit.store(usize::MAX, Ordering::SeqCst);
        device.ok(&["whoami"]);
        self.limit.store(self.sent.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to); // the connection may be closed already
    let _ = to.shutdown(Shutdown::Both);
}

fn copy_with_fault(mut from: TcpStream, mut to: TcpStream, limit: usize, fault: Fault, sent: &AtomicUsize) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let before = sent.fetch_add(read, Ordering::SeqCst);
        let (good, bad) = buffer[..read].split_at_mut(limit.saturating_sub(before).min(read));
        if to.write_all(good).is_err() {
            break;
        }
        match fault {
            _ if bad.is_empty() => {}
            Fault::Cut => break,
            Fault::Freeze => {}
            Fault::Damage => {
                bad.iter_mut().for_each(|byte| *byte ^= 0x55);
                if to.write_all(bad).is_err() {
                    break;
                }
            }
        }
    }
    let _ = to.shutdown(Shutdown::Both); // the connection may be closed already
}

#[test]
fn command_ends_at_its_deadline_if_every_connection_fails_after_login() {
    let server = TestServer::new();
    let [mut alice, _bob] = server.friends(["alice", "bob"]);
    alice.ok(&["send", "bob", "hello"]);
    let proxy = FaultyProxy::to(alice.server);
    alice.server = proxy.address;
    for (fault, code) in [(Fault::Cut, 75), (Fault::Freeze, 75), (Fault::Damage, 76)] {
        *proxy.fault.lock().unwrap() = fault;
        for command in [
            &["history", "bob"][..],
            &["friend", "list"],
            &["group", "members", "#1"],
            &["search", "users", "b"],
            &["devices"],
            &["read", "bob"],
            &["group", "create", "club"],
        ] {
            // The reply to a login contains the conversations, which the earlier commands have
            // changed, so its length is measured again.
            proxy.fail_after_login(&alice);
            let started = Instant::now();
            let errors = alice.fails(code, &[&["--timeout", "2", "--json"], command].concat());
            assert!(started.elapsed() < Duration::from_secs(20), "{fault:?} {command:?}");
            let error: Value = serde_json::from_str(errors.lines().last().unwrap()).unwrap();
            let text = error["error"]["text"].as_str().unwrap();
            assert!(text.contains("no answer within 2 s"), "{fault:?} {command:?}: {text}");
            if code == 75 {
                let kind = if matches!(command[0], "read") || command[1..] == ["create", "club"] {
                    "unknown"
                } else {
                    "timeout"
                };
                assert_eq!(error["error"]["kind"], kind, "{fault:?} {command:?}: {text}");
            }
        }
    }
}

#[test]
fn line_of_a_script_fails_if_the_server_does_not_answer() {
    let server = TestServer::new();
    let [mut alice, _bob] = server.friends(["alice", "bob"]);
    let proxy = FaultyProxy::to(alice.server);
    alice.server = proxy.address;
    proxy.fail_after_login(&alice);
    *proxy.fault.lock().unwrap() = Fault::Freeze;
    let mut client = alice.start(&["--timeout", "2"]);
    client.type_line("/devices");
    client.until_error("line 1: no answer within 2 s");
    client.close_input();
    assert_eq!(client.finish().0, Some(1));
}

/// Starts a server that treats loopback like any other source.
fn strict_server() -> TestServer {
    TestServer::with_settings(&[("CHAT_LIMITS__EXEMPT_LOOPBACK", "false")])
}

#[test]
fn throttled_registration_is_reported_at_once() {
    let server = strict_server();
    for name in ["ann", "ben", "cat"] {
        server.register(name);
    }
    let started = Instant::now();
    let errors = server.device("dan", "dan").fails(75, &["register"]);
    assert!(errors.contains("too many attempts; try again in"), "{errors}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// Starts servers that ask every client to wait for these times, and returns their addresses.
fn busy_servers<const N: usize>(seconds: [u32; N]) -> [SocketAddr; N] {
    seconds.map(|seconds| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut reject = vec![0, 7, 0, 0, 2]; // docs/sc1.md §4: a Reject with the code 2, busy
        reject.extend((seconds * 1000).to_be_bytes());
        thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let _ = client.read(&mut [0; 512]); // the hello
                let _ = client.write_all(&reject);
            }
        });
        address
    })
}

#[test]
fn login_tries_every_server_before_it_reports_the_shortest_delay() {
    let server = TestServer::new();
    server.register("alice");
    let [slow, quick] = busy_servers([60, 5]);
    let mut device = server.device("alice", "second");
    device.server = slow;
    let started = Instant::now();
    let errors = device.fails(69, &["--server", &quick.to_string(), "login"]);
    assert!(errors.contains(&quick.to_string()), "{errors}");
    assert!(errors.contains("it is busy; try again in 5 s"), "{errors}");
    let servers = format!("{quick},{}", server.process.address());
    device.ok(&["--server", &servers, "login"]);
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// After wrong passwords, an unknown device is told to wait (code 75), not that the server cannot
/// be reached. Known devices still get in.
#[test]
fn wrong_passwords_delay_logins_of_unknown_devices_only() {
    let server = strict_server();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let unknown = server.device("alice", "unknown");
    let log_in = |password: &str| {
        let mut command = unknown.command(&["login"]);
        let output = command.env("CHAT_PASSWORD", password).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    // The penalty of each is 5 s. Four exceed the 15 s from which logins are delayed.
    for _ in 0..4 {
        assert_eq!(log_in("a wrong password").0, Some(77));
    }
    let (code, errors) = log_in(PASSWORD);
    assert_eq!(code, Some(75), "{errors}");
    assert!(errors.contains("too many attempts; try again in"), "{errors}");
    // A session is resumed, and a device that has logged in before logs in again.
    bob.ok(&["whoami"]);
    alice.ok(&["login"]);
    // While a colleague is logged in, logins of the source are not delayed.
    let listener = bob.start(&["listen", "--own"]);
    bob.ok(&["send", "alice", "hello"]);
    listener.until("hello");
    let (code, errors) = log_in(PASSWORD);
    assert_eq!(code, Some(0), "{errors}");
}
