//! Tests of nodes and their database: a user with row privileges only, passwords with special
//! characters, and a database machine whose clock differs.

use std::path::Path;
use std::process::{Command as Process, Output};
use std::time::{Duration, Instant};

use chat_core::clock::{Clock as _, SystemClock};
use chat_core::commands::Commands;
use chat_core::model::ConversationRef;
use chat_core::testkit::Peer;
use chat_harness::services::{MariaDb, Redis};
use chat_harness::{Cluster, ServerProcess, pause};

use super::support::{PROGRAM, WAIT_TIMEOUT, named};

/// Runs `chat-server` in `directory` with these arguments and variables of its environment.
fn run_program(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut process = Process::new(&*PROGRAM);
    process.current_dir(directory).args(arguments);
    process.envs(environment.iter().copied()).output().unwrap()
}

/// Returns everything that the program printed.
fn printed(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Registers and logs in Alice, and sends a message to her own notes.
async fn use_node(node: &ServerProcess) {
    let mut alice = Peer::connect(node.address(), node.fingerprint()).await.unwrap();
    alice.register("alice").await.unwrap();
    alice.login("alice").await.unwrap();
    let notes = ConversationRef::Direct(named("alice"));
    alice.commands().send_text(notes, "hello").await.unwrap();
}

/// The documented setup: an administrator migrates, and the configuration of the server contains a
/// user who may only read and write rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_runs_with_row_privileges_after_an_administrator_migrated() {
    let database = MariaDb::start(&[]).unwrap();
    let setup = "CREATE DATABASE chat; CREATE USER chat_admin; CREATE USER chat; GRANT ALL ON chat.* TO chat_admin; \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON chat.* TO chat";
    database.sql(setup).unwrap();
    let url = |user: &str| format!("mysql://{user}@{}/chat", database.address());
    let directory = tempfile::tempdir().unwrap();
    let run =
        |user: &str, arguments: &[&str]| run_program(directory.path(), arguments, &[("CHAT_STORE__URL", &url(user))]);

    let refused = run("chat", &["run", "--listen", "sc1://127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(69), "{}", printed(&refused));
    let text = printed(&refused);
    assert!(
        text.contains("may not create or change tables") && text.contains("chat-server migrate"),
        "{text}"
    );
    let migrated = run("chat_admin", &["migrate"]);
    assert!(migrated.status.success(), "{}", printed(&migrated));

    let data = directory.path().join("chat-data");
    let node = ServerProcess::start(&PROGRAM, &data, &[("CHAT_STORE__URL", &url("chat"))]).unwrap();
    use_node(&node).await;
    let changed = run("chat", &["user", "disable", "alice"]);
    assert!(changed.status.success(), "{}", printed(&changed));
    drop(node);
    // Without a node, the command itself uses the store, with the same privileges.
    let changed = run("chat", &["user", "enable", "alice"]);
    assert!(changed.status.success(), "{}", printed(&changed));
}

/// Parts of [`PASSWORD`], none of which may be shown.
const PASSWORD_PARTS: [&str; 4] = ["alpha", "bravo", "charlie", "delta"];
/// Password with characters that have to be percent-encoded in a URL.
const PASSWORD: &str = "alpha/bravo@charlie%delta";
/// [`PASSWORD`] as it stands in a URL.
const ENCODED_PASSWORD: &str = "alpha%2Fbravo%40charlie%25delta";

fn assert_hides_password(text: &str) {
    assert!(!PASSWORD_PARTS.iter().any(|part| text.contains(part)), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_with_special_characters_are_accepted_and_never_shown() {
    let database = MariaDb::start(&[]).unwrap();
    let setup =
        format!("CREATE DATABASE chat; CREATE USER chat IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON chat.* TO chat");
    database.sql(&setup).unwrap();
    let redis = Redis::start(&["--requirepass", PASSWORD]).unwrap();
    let store = |password: &str| format!("mysql://chat:{password}@{}/chat", database.address());
    let (right, wrong) = (
        store(ENCODED_PASSWORD),
        store(&ENCODED_PASSWORD.replace("delta", "delta2")),
    );
    let bus = format!("redis://:{ENCODED_PASSWORD}@{}/", redis.address());
    let directory = tempfile::tempdir().unwrap();
    let environment = [("CHAT_STORE__URL", right.as_str()), ("CHAT_BUS__URL", &bus)];

    let node = ServerProcess::start(&PROGRAM, &directory.path().join("chat-data"), &environment).unwrap();
    use_node(&node).await;
    let deadline = Instant::now() + WAIT_TIMEOUT;
    let channels = || redis.command(&["--no-auth-warning", "-a", PASSWORD, "PUBSUB", "CHANNELS"]);
    while channels().unwrap().trim().is_empty() {
        assert!(Instant::now() < deadline, "the node does not subscribe to the bus");
        pause(Duration::from_millis(50));
    }

    for arguments in [
        &["config", "show"][..],
        &["check-config"],
        &["stats"],
        &["user", "list"],
    ] {
        let output = run_program(directory.path(), arguments, &environment);
        assert!(output.status.success(), "{arguments:?}: {}", printed(&output));
        assert_hides_password(&printed(&output));
    }
    let shown = printed(&run_program(directory.path(), &["config", "show"], &environment));
    let visible = format!("mysql://chat:***@{}/chat", database.address());
    assert!(shown.contains(&visible), "{shown}");
    // The database refuses the wrong password, and neither the error nor the log shows it.
    let other = tempfile::tempdir().unwrap();
    let environment = [
        ("CHAT_STORE__URL", wrong.as_str()),
        ("CHAT_BUS__URL", &bus),
        ("CHAT_LOG__LEVEL", "trace"),
    ];
    for arguments in [&["run", "--listen", "sc1://127.0.0.1:0"][..], &["migrate"]] {
        let refused = run_program(other.path(), arguments, &environment);
        assert_eq!(refused.status.code(), Some(69), "{arguments:?}: {}", printed(&refused));
        assert_hides_password(&printed(&refused));
    }
}

/// Nodes stamp events with the time of the database, as the documentation says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_have_the_time_of_a_database_with_another_clock() {
    /// Difference for which a node logs a warning, and not so large that it refuses logins.
    const AHEAD_MS: i64 = 120_000;
    /// Time for an answer of the database, by which the node may misjudge the clock.
    const TOLERANCE_MS: i64 = 2_000;
    let mut cluster = Cluster::start(&PROGRAM, 0).unwrap();
    // Each connection of the node then has a clock that is ahead, as if the machine of the database
    // had such a clock. It stands still, so it shows the time at which the connection began.
    let shift = format!("SET GLOBAL init_connect = 'SET timestamp = UNIX_TIMESTAMP(NOW(3)) + {AHEAD_MS} / 1000'");
    cluster.database.sql(&shift).unwrap();
    let earliest = SystemClock.now().0 + AHEAD_MS - TOLERANCE_MS;
    cluster.add_node().unwrap();
    let mut alice = cluster.new_user(0, "alice").await.unwrap();
    let notes = ConversationRef::Direct(named("alice"));
    let sent = alice.commands().send_text(notes, "hello").await.unwrap();
    let latest = SystemClock.now().0 + AHEAD_MS + TOLERANCE_MS;
    assert!(
        (earliest..=latest).contains(&sent.time.0),
        "{earliest} {} {latest}",
        sent.time.0
    );
    // The log has the same time, which is also what members read.
    let stored = cluster.database.sql(&format!(
        "SELECT time FROM chat.event WHERE conversation_id = {} AND seq = {}",
        sent.conversation.0, sent.seq.0
    ));
    assert_eq!(stored.unwrap().trim(), sent.time.0.to_string());
    let created = cluster
        .database
        .sql("SELECT created FROM chat.account WHERE name = 'alice'");
    let created: i64 = created.unwrap().trim().parse().unwrap();
    assert!((earliest..=latest).contains(&created), "{earliest} {created} {latest}");
}
