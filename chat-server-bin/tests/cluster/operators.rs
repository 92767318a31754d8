//! Tests of operator commands such as `chat-server user disable` while nodes run.

use std::process::Command as Process;
use std::time::{Duration, Instant};

use chat_bus_redis::RedisBackend;
use chat_core::cluster::{Discovery as _, NodeInfo};
use chat_core::commands::Commands;
use chat_core::model::{CloseCode, ConversationRef, EventKind, GroupName, NodeId, Push};
use chat_core::store::Store as _;
use chat_core::testkit::Peer;
use chat_harness::Cluster;
use chat_store_mysql::MysqlStore;
use serde_json::Value;
use tokio::time::timeout;

use super::support::{PROGRAM, WAIT_TIMEOUT, create_group, join};

/// Maximum time until nodes act on a change that a command announces on the bus. Without the
/// announcement, a node finds the change only when it next compares its users and conversations
/// with the store, up to 40 s later.
const MAX_DELAY: Duration = Duration::from_secs(5);

/// Runs a command of `chat-server`, which has to succeed, with this URL of the bus. Returns its
/// standard output.
fn run_command_with_bus(cluster: &Cluster, bus: &str, arguments: &[&str]) -> String {
    let mut process = Process::new(&*PROGRAM);
    process.args(arguments).env("CHAT_PASSWORD", "correct horse battery");
    process.env("CHAT_STORE__URL", cluster.database.url("chat"));
    process.env("CHAT_BUS__URL", bus);
    let output = process.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command of `chat-server`, which has to succeed, with the bus of the cluster. Returns its
/// standard output.
async fn run_command(cluster: &Cluster, arguments: &[&str]) -> String {
    tokio::task::block_in_place(|| run_command_with_bus(cluster, &cluster.redis.url(), arguments))
}

/// Waits until the server closes the session. Returns the close code.
async fn until_closed(peer: &mut Peer) -> CloseCode {
    let end = async {
        loop {
            if let Push::Closed(code) = peer
                .next_push()
                .await
                .expect("the close code arrives before the connection ends")
            {
                return code;
            }
        }
    };
    timeout(MAX_DELAY, end).await.expect("the session is closed in time")
}

/// Waits for an event of this kind.
async fn until_event(peer: &mut Peer, kind: EventKind) {
    let event = async {
        loop {
            if let Push::Event(event) = peer.next_push().await.unwrap()
                && event.kind == kind
            {
                return;
            }
        }
    };
    timeout(MAX_DELAY, event)
        .await
        .unwrap_or_else(|_| panic!("{kind:?} was not pushed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_ends_sessions_on_running_nodes_within_five_seconds() {
    let cluster = Cluster::start(&PROGRAM, 2).unwrap();
    let mut alice = cluster.new_user(0, "alice").await.unwrap();
    let mut bob = cluster.new_user(1, "bob").await.unwrap();
    let mut dora = cluster.new_user(1, "dora").await.unwrap();
    let output = run_command(&cluster, &["user", "disable", "alice"]).await;
    assert!(output.contains("disabled") && !output.contains("bus"), "{output}");
    until_closed(&mut alice).await;
    // The sessions of other users continue.
    bob.commands().contacts().await.unwrap();
    let output = run_command(&cluster, &["user", "passwd", "bob", "--json"]).await;
    let object: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(object["nodes_notified"], true);
    until_closed(&mut bob).await;
    run_command(&cluster, &["session", "end", "dora"]).await;
    until_closed(&mut dora).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_receive_events_of_operator_commands_within_five_seconds() {
    let cluster = Cluster::start(&PROGRAM, 2).unwrap();
    let mut alice = cluster.new_user(0, "alice").await.unwrap();
    let mut bob = cluster.new_user(1, "bob").await.unwrap();
    let mut dora = cluster.new_user(1, "dora").await.unwrap();
    create_group(&mut alice, "rust").await;
    let group = || ConversationRef::Group(GroupName::parse("rust").unwrap());
    join(&mut bob, group()).await;
    join(&mut dora, group()).await;
    run_command(&cluster, &["group", "transfer", "rust", "bob"]).await;
    until_event(&mut alice, EventKind::OwnershipTransferred).await;
    run_command(&cluster, &["user", "delete", "dora", "--erase-texts", "--yes"]).await;
    until_closed(&mut dora).await;
    until_event(&mut alice, EventKind::MemberLeft).await;
    let output = run_command(&cluster, &["group", "delete", "rust"]).await;
    assert_eq!(output, "deleted group rust\n");
    for member in [&mut alice, &mut bob] {
        until_event(member, EventKind::GroupDeleted).await;
    }
    let audit = run_command(&cluster, &["audit", "--json"]).await;
    let actions: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let actions: Vec<&str> = actions.iter().filter_map(|record| record["action"].as_str()).collect();
    assert_eq!(actions, ["group.delete", "account.delete", "group.transfer"]);
}

/// A command with the data directory of a node is executed by that node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_reach_a_node_through_its_data_directory() {
    let cluster = Cluster::start(&PROGRAM, 2).unwrap();
    let _alice = cluster.new_user(0, "alice").await.unwrap();
    let mut bob = cluster.new_user(1, "bob").await.unwrap();
    let on_node = async |node: usize, arguments: &[&str]| {
        let data_dir = cluster.nodes[node].data_dir().to_str().unwrap();
        let output = run_command(&cluster, &[&["--data-dir", data_dir], arguments, &["--json"]].concat()).await;
        let objects = output.lines().map(|line| serde_json::from_str(line).unwrap());
        objects.collect::<Vec<Value>>()
    };
    for (node, name) in [(0, "alice"), (1, "bob")] {
        let sessions = on_node(node, &["session", "list"]).await;
        let names: Vec<&str> = sessions.iter().filter_map(|session| session["name"].as_str()).collect();
        assert_eq!(names, [name]);
        let stats = &on_node(node, &["stats"]).await[0];
        assert_eq!((&stats["store"], &stats["sessions"]), (&"mysql".into(), &1.into()));
    }
    let disabled = &on_node(0, &["user", "disable", "bob"]).await[0];
    assert_eq!(disabled["nodes_notified"], true);
    assert_eq!(until_closed(&mut bob).await, CloseCode::AccountDisabled);

    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::new(&*PROGRAM);
    process.args(["session", "list", "--data-dir"]).arg(directory.path());
    process.env("CHAT_STORE__URL", cluster.database.url("chat"));
    let refused = tokio::task::block_in_place(|| process.output()).unwrap();
    assert_eq!(refused.status.code(), Some(69));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("only nodes know their sessions"), "{text}");
}

/// Commands do not register as nodes, so nodes neither expect heartbeats of commands nor poll the
/// database because such heartbeats are missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_do_not_join_the_cluster_as_nodes() {
    let cluster = Cluster::start(&PROGRAM, 1).unwrap();
    let node_count = || cluster.database.sql("SELECT COUNT(*) FROM chat.node").unwrap();
    assert_eq!(node_count(), "1\n");
    run_command(&cluster, &["user", "add", "alice", "--no-password"]).await;
    run_command(&cluster, &["user", "list"]).await;
    assert_eq!(node_count(), "1\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_reports_that_nodes_were_not_notified() {
    let cluster = Cluster::start(&PROGRAM, 1).unwrap();
    let _alice = cluster.new_user(0, "alice").await.unwrap();
    let unused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let unreachable = format!("redis://{unused}/");
    for (bus, remark) in [("", "bus.url is not set"), (&unreachable, "the bus is unreachable")] {
        let (output, object) = tokio::task::block_in_place(|| {
            let output = run_command_with_bus(&cluster, bus, &["user", "disable", "alice"]);
            (
                output,
                run_command_with_bus(&cluster, bus, &["session", "end", "alice", "--json"]),
            )
        });
        assert!(output.contains(remark), "{output}");
        let object: Value = serde_json::from_str(&object).unwrap();
        assert_eq!(object["nodes_notified"], false);
    }
    // Nodes read these changes in the store, so nothing is announced that could fail.
    for (command, text) in [
        (&["user", "add", "bob", "--no-password"][..], "created user bob"),
        (&["user", "rename", "bob", "bert"], "renamed user bob to bert"),
        (&["user", "enable", "alice"], "enabled user alice"),
    ] {
        let output = tokio::task::block_in_place(|| run_command_with_bus(&cluster, &unreachable, command));
        assert!(output.starts_with(text) && !output.contains("bus"), "{output}");
    }
    let enable = ["user", "enable", "alice", "--json"];
    let object = tokio::task::block_in_place(|| run_command_with_bus(&cluster, &unreachable, &enable));
    let object: Value = serde_json::from_str(&object).unwrap();
    assert_eq!(object.get("nodes_notified"), None);
}

/// Text that would add a row, and clear the screen, if a terminal showed it unescaped.
const FORGED_ROW: &str = "x\n#9\tmallory\tactive\r\u{1b}[2J\u{202e}";

/// Returns a text as a literal of SQL.
fn sql_literal(text: &str) -> String {
    let digits: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
    format!("X'{digits}'")
}

/// Clients cannot set names like [`FORGED_ROW`], but another program may have written them into the
/// database, and a program that has the cluster key may announce a similar address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_of_commands_escapes_foreign_text() {
    let cluster = Cluster::start(&PROGRAM, 1).unwrap();
    let mut alice = cluster.new_user(0, "alice").await.unwrap();
    let mut bob = cluster.new_user(0, "bob").await.unwrap();
    let group = create_group(&mut alice, "rust").await;
    join(&mut bob, ConversationRef::Id(group)).await;
    let database = cluster.database.url("chat");
    let mysql = MysqlStore::open(&database, chat_store_mysql::Options::default());
    let cluster_key = mysql.await.unwrap().cluster_key().await.unwrap();
    let redis = RedisBackend::open(&cluster.redis.url(), cluster_key, chat_bus_redis::Options::default()).unwrap();
    let discovery = redis.discovery();
    let mut announced = NodeInfo::new(NodeId([7; 16]), 1);
    // Nodes separate addresses by line feeds, so an address contains none.
    announced.addresses = vec![FORGED_ROW.replace('\n', " ")];
    let _view = discovery.join(announced).await.unwrap();
    let forged = sql_literal(FORGED_ROW);
    let sql = format!(
        "USE chat; UPDATE account SET name = {forged}, display_name = {forged}, subject = {forged} WHERE name = 'alice';
         UPDATE device SET name = {forged};
         UPDATE group_profile SET name = {forged}, description = {forged} WHERE conversation_id = {group}",
        group = group.0,
    );
    cluster.database.sql(&sql).unwrap();

    let node = cluster.nodes[0].data_dir().to_str().unwrap();
    let unused = tempfile::tempdir().unwrap();
    let without_node = unused.path().to_str().unwrap();
    let group = &*format!("#{}", group.0);
    let started = Instant::now();
    while !run_command(&cluster, &["--data-dir", node, "stats"])
        .await
        .contains("mallory")
    {
        assert!(started.elapsed() < WAIT_TIMEOUT, "the announced address is not shown");
    }
    let escaped = "x\\n#9\\tmallory\\tactive\\r\\u{1b}[2J\\u{202e}";
    // The command, the number of lines that it prints (`None`: not checked), and whether it shows a
    // forged name.
    for (arguments, lines, shows_name) in [
        (&["user", "list"][..], Some(2), true),
        (&["user", "show", "#1"], None, true),
        (&["group", "list"], Some(1), true),
        (&["group", "show", group], Some(3), true),
        (&["session", "list"], Some(2), true),
        (&["session", "list", "#1"], Some(1), true),
        (&["stats"], None, false),
        (&["group", "transfer", group, "#2"], Some(1), false),
        (&["group", "transfer", group, "#1"], Some(1), true),
        (&["session", "end", "#1"], Some(1), true),
        (&["user", "disable", "#1"], Some(1), true),
        (&["user", "enable", "#1"], Some(1), true),
        (&["user", "passwd", "#1"], Some(1), true),
        (&["user", "rename", "#1", "alicia"], Some(1), true),
        (&["audit"], None, true),
    ] {
        for directory in [node, without_node] {
            if arguments.starts_with(&["session", "list"]) && directory == without_node {
                continue; // only nodes know their sessions
            }
            if arguments.contains(&"rename") {
                let name_again = format!("UPDATE chat.account SET name = {forged} WHERE id = 1");
                cluster.database.sql(&name_again).unwrap();
            }
            let output = run_command(&cluster, &[&["--data-dir", directory], arguments].concat()).await;
            let is_harmful = |c: char| c == '\u{202e}' || c.is_control() && !matches!(c, '\n' | '\t');
            assert!(!output.contains(is_harmful), "{arguments:?}: {output:?}");
            assert!(!output.contains("mallory\tactive"), "{arguments:?}: {output:?}");
            if let Some(lines) = lines {
                assert_eq!(output.lines().count(), lines, "{arguments:?}: {output:?}");
            }
            assert!(!shows_name || output.contains(escaped), "{arguments:?}: {output:?}");
        }
    }
    drop((alice, bob));
}
