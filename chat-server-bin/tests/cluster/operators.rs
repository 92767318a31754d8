//! Commands of operators beside running nodes.

use std::process::Command as Process;
use std::time::Duration;

use chat_core::commands::Commands;
use chat_core::model::{CloseCode, ConversationRef, EventKind, GroupName, Push};
use chat_core::testkit::Peer;
use chat_harness::Cluster;
use serde_json::Value;
use tokio::time::timeout;

use super::support::{PROGRAM, create_group, join};

/// The promise is "at once"; without an announcement it takes the next sweep, 20 s and more.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Runs a command beside the nodes. Returns its output.
fn operator_with(cluster: &Cluster, bus: &str, arguments: &[&str]) -> String {
    let mut process = Process::new(&*PROGRAM);
    process.args(arguments).env("CHAT_PASSWORD", "correct horse battery");
    process.env("CHAT_STORE__URL", cluster.database.url("chat"));
    process.env("CHAT_BUS__URL", bus);
    let done = process.output().unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

async fn operator(cluster: &Cluster, arguments: &[&str]) -> String {
    tokio::task::block_in_place(|| operator_with(cluster, &cluster.redis.url(), arguments))
}

/// Waits for the end of a session.
async fn ends(peer: &mut Peer) -> CloseCode {
    let end = async {
        loop {
            if let Push::Closed(code) = peer.push().await.expect("a close code comes first") {
                return code;
            }
        }
    };
    timeout(AT_ONCE, end).await.expect("the session ends at once")
}

/// Waits for an event of this kind.
async fn learns(peer: &mut Peer, wanted: EventKind) {
    let event = async {
        loop {
            if let Push::Event(event) = peer.push().await.unwrap()
                && event.kind == wanted
            {
                return;
            }
        }
    };
    timeout(AT_ONCE, event)
        .await
        .unwrap_or_else(|_| panic!("{wanted:?} is pushed at once"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_ends_sessions_on_running_nodes_at_once() {
    let cluster = Cluster::start(&PROGRAM, 2).unwrap();
    let mut alice = cluster.new_user(0, "alice").await.unwrap();
    let mut bob = cluster.new_user(1, "bob").await.unwrap();
    let mut dora = cluster.new_user(1, "dora").await.unwrap();
    let said = operator(&cluster, &["user", "disable", "alice"]).await;
    assert!(said.contains("disabled") && !said.contains("bus"), "{said}");
    ends(&mut alice).await;
    bob.commands().contacts().await.unwrap();
    let said = operator(&cluster, &["user", "passwd", "bob", "--json"]).await;
    let object: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(object["nodes_notified"], true);
    ends(&mut bob).await;
    operator(&cluster, &["session", "end", "dora"]).await;
    ends(&mut dora).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_learn_at_once_what_an_operator_does_to_a_group() {
    let cluster = Cluster::start(&PROGRAM, 2).unwrap();
    let mut alice = cluster.new_user(0, "alice").await.unwrap();
    let mut bob = cluster.new_user(1, "bob").await.unwrap();
    let mut dora = cluster.new_user(1, "dora").await.unwrap();
    create_group(&mut alice, "rust").await;
    let group = || ConversationRef::Group(GroupName::parse("rust").unwrap());
    join(&mut bob, group()).await;
    join(&mut dora, group()).await;
    operator(&cluster, &["group", "transfer", "rust", "bob"]).await;
    learns(&mut alice, EventKind::OwnershipTransferred).await;
    operator(&cluster, &["user", "delete", "dora", "--erase-texts", "--yes"]).await;
    ends(&mut dora).await;
    learns(&mut alice, EventKind::MemberLeft).await;
    let said = operator(&cluster, &["group", "close", "rust"]).await;
    assert_eq!(said, "closed group rust\n");
    for member in [&mut alice, &mut bob] {
        learns(member, EventKind::GroupDeleted).await;
    }
    let audit = operator(&cluster, &["audit", "--json"]).await;
    let actions: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let actions: Vec<&str> = actions.iter().filter_map(|record| record["action"].as_str()).collect();
    assert_eq!(actions, ["group.close", "account.delete", "group.transfer"]);
}

/// The commands are no nodes: other nodes do not wait for their heartbeats, nor poll the database
/// because these stay away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_no_nodes_of_the_cluster() {
    let cluster = Cluster::start(&PROGRAM, 1).unwrap();
    let nodes = || cluster.database.sql("SELECT COUNT(*) FROM chat.node").unwrap();
    assert_eq!(nodes(), "1\n");
    operator(&cluster, &["user", "add", "alice", "--no-password"]).await;
    operator(&cluster, &["user", "list"]).await;
    assert_eq!(nodes(), "1\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_states_that_the_nodes_were_not_told() {
    let cluster = Cluster::start(&PROGRAM, 1).unwrap();
    let _alice = cluster.new_user(0, "alice").await.unwrap();
    let unused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let unreachable = format!("redis://{unused}/");
    for (bus, remark) in [("", "bus.url is not set"), (&unreachable, "the bus is unreachable")] {
        let (said, object) = tokio::task::block_in_place(|| {
            let said = operator_with(&cluster, bus, &["user", "disable", "alice"]);
            (
                said,
                operator_with(&cluster, bus, &["session", "end", "alice", "--json"]),
            )
        });
        assert!(said.contains(remark), "{said}");
        let object: Value = serde_json::from_str(&object).unwrap();
        assert_eq!(object["nodes_notified"], false);
    }
}
