//! Tests of passwords in the memory of the server, and of core dumps.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use chat_core::codec::{Answer, RequestKind};
use chat_core::model::{DeviceId, Login, Registration, Secret, UserName, UserRef};
use chat_core::testkit::Peer;
use chat_harness::ServerProcess;

use super::support::PROGRAM;

/// Returns how often a text occurs in the writable memory of a process.
fn occurrences(process: u32, text: &str) -> usize {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let mut count = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut content = vec![0; usize::try_from(end - start).unwrap()];
        // Some regions, such as those of a device, cannot be read.
        if memory.read_exact_at(&mut content, start).is_ok() {
            let windows = content.windows(text.len());
            count += windows.filter(|window| *window == text.as_bytes()).count();
        }
    }
    count
}

/// Returns `true` if this process may read the memory of the server: only root may, because the
/// server disables core dumps. Otherwise prints that `test` checks nothing.
fn may_read_memory(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("{test} checks nothing, because it does not run as root");
    }
    is_root
}

async fn register_and_log_in(peer: &mut Peer, name: &str, password: &str) {
    let name = UserName::parse(name).unwrap();
    let registration = Registration::new(name.clone(), Secret::new(password));
    let registered = peer.ask(RequestKind::Register(registration)).await.unwrap();
    assert!(matches!(registered, Ok(Answer::Registered(_))), "{registered:?}");
    let mut login = Login::new(UserRef::Name(name), Secret::new(password), DeviceId::random());
    login.device_name = "phone".to_owned();
    let logged_in = peer.ask(RequestKind::Login(login)).await.unwrap();
    assert!(matches!(logged_in, Ok(Answer::LoggedIn(_))), "{logged_in:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_password_remains_in_memory() {
    if !may_read_memory("no_password_remains_in_memory") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&PROGRAM, &directory.path().join("chat-data"), &[]).unwrap();
    let password = "a long passphrase that only this test uses";
    let mut peer = Peer::connect(server.address(), server.fingerprint()).await.unwrap();
    register_and_log_in(&mut peer, "alice", password).await;
    assert_eq!(occurrences(server.process().pid(), password), 0);
    // The search works: it finds a text that is in the memory.
    assert!(occurrences(server.process().pid(), "/chat-data") > 0);
}

#[test]
fn core_dumps_are_disabled() {
    let directory = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&PROGRAM, &directory.path().join("chat-data"), &[]).unwrap();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.process().pid())).unwrap();
    let cores = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let values: Vec<&str> = cores.split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"]);
    // The files in /proc of a process that cannot be dumped belong to root.
    use std::os::unix::fs::MetadataExt as _;
    let owner = fs::metadata(
        Path::new("/proc")
            .join(server.process().pid().to_string())
            .join("environ"),
    )
    .unwrap()
    .uid();
    assert_eq!(owner, 0);
}
