//! Tests of the lists of sessions.

use super::*;

#[tokio::test]
async fn sessions_of_the_node_are_listed_in_pages() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let second = engine.session(alice.user().id, DeviceId::random()).await.unwrap();
    let operator = operator(&engine);
    let first = operator.list_sessions(SessionId(0), 2).await.unwrap();
    let names: Vec<_> = first
        .sessions
        .iter()
        .map(|session| session.name.clone().unwrap())
        .collect();
    assert_eq!(names, ["alice", "bob"]);
    assert_eq!(first.next, Some(first.sessions[1].id));
    assert!(first.sessions.iter().all(|session| {
        session.address.is_none() && session.started > Timestamp(0) && session.state == PresenceState::Online
    }));
    let rest = operator.list_sessions(first.next.unwrap(), 2).await.unwrap();
    assert_eq!((rest.sessions.len(), rest.next), (1, None));
    assert_eq!(operator.sessions_of(alice.user().id).await.unwrap().len(), 2);

    drop(second);
    wait_for_sessions(&operator, 2).await;
    drop(bob);
    wait_for_sessions(&operator, 1).await;
    let unknown = operator.sessions_of(UserRef::Name(name("nobody"))).await;
    assert_eq!(error_code(unknown), ReplyCode::NotFound);
}

/// Waits until the node has this number of sessions.
async fn wait_for_sessions(operator: &Operator, count: usize) {
    let reached = async {
        while operator.list_sessions(SessionId(0), 500).await.unwrap().sessions.len() != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), reached)
        .await
        .expect("the node does not reach this number of sessions");
}
