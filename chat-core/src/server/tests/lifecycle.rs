//! Tests of starting, draining and dropping servers.

use super::*;

async fn drain_asks_clients_to_reconnect_and_ends(link: EngineLink) {
    let site = Site::new(link, ServerConfig::default()).await;
    let mut alice = site.user("alice").await;
    let drained = tokio::spawn(async move { site.server.drain(WAIT_TIMEOUT).await });
    let mut pushes = Vec::new();
    while let Ok(push) = timeout(WAIT_TIMEOUT, alice.next_push()).await.unwrap() {
        pushes.push(push);
    }
    assert!(
        matches!(
            pushes[..],
            [.., Push::GoAway { .. }, Push::Closed(CloseCode::GoingAway)]
        ),
        "{pushes:?}"
    );
    timeout(WAIT_TIMEOUT, drained).await.unwrap().unwrap();
    timeout(WAIT_TIMEOUT, site.engine.shutdown()).await.unwrap();
}

async fn dropped_server_ends_every_task(link: EngineLink) {
    let site = Site::new(link, ServerConfig::default()).await;
    let _idle = site.user("alice").await;
    let _silent = tokio::net::TcpStream::connect(site.server.addresses()[0].1)
        .await
        .unwrap();
    let tasks = site.server.shared.tasks.clone();
    drop(site.server);
    tasks.close();
    timeout(Duration::from_secs(2), tasks.wait())
        .await
        .expect("every task ends within 2 s");
}

async fn two_servers_in_one_process_are_independent(link: EngineLink) {
    let (one, other) = (
        Site::new(link, ServerConfig::default()).await,
        Site::new(link, ServerConfig::default()).await,
    );
    let _alice = one.user("alice").await;
    let mut stranger = other.peer().await;
    assert!(stranger.login("alice").await.is_err(), "the other server has no alice");
    drop(one);
    stranger.register("alice").await.unwrap();
    stranger.login("alice").await.unwrap();
}

on_each_engine_link! {
    #[tokio::test]
    drain_asks_clients_to_reconnect_and_ends,
    #[tokio::test]
    dropped_server_ends_every_task,
    #[tokio::test]
    two_servers_in_one_process_are_independent,
}
