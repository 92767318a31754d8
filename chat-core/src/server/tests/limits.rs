//! Tests of the limits of connections, handshakes and sources, and of guests: connections before
//! their login.

use super::*;
use crate::model::{DeviceId, Login, Secret};
use crate::testkit::PASSWORD;

async fn commands_before_login_are_rejected(link: EngineLink) {
    let site = Site::new(link, ServerConfig::default()).await;
    let mut peer = site.peer().await;
    for command in [Command::ListDevices, Command::Logout, say("bob", "hello")] {
        let failure = peer.ask(RequestKind::Command(command)).await.unwrap().unwrap_err();
        assert_eq!(failure.code(), Some(ReplyCode::NotLoggedIn));
    }
}

async fn connections_beyond_max_connections_are_closed(link: EngineLink) {
    let mut config = ServerConfig::default();
    config.max_connections = 2;
    let site = Site::new(link, config).await;
    let (_one, _other) = (site.peer().await, site.peer().await);
    assert!(
        Peer::connect(site.server.addresses()[0].1, site.keys.fingerprint())
            .await
            .is_err()
    );
}

async fn handshakes_beyond_the_rate_are_rejected_as_busy(link: EngineLink) {
    let mut config = ServerConfig::default();
    config.handshake_rate = crate::rate::Rate::new(1, Duration::from_secs(3600));
    let site = Site::new(link, config).await;
    let _first = site.peer().await;
    let refused = Peer::connect(site.server.addresses()[0].1, site.keys.fingerprint())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("Busy"), "{refused}");
}

async fn slow_guest_is_closed_at_its_deadline(link: EngineLink) {
    let started = tokio::time::Instant::now();
    let (_server, mut stream) = raw(link, ServerConfig::default()).await;
    // The client sends one byte a second. This does not extend the deadline, which is for the whole
    // packet.
    let mut slow = tokio::time::interval(Duration::from_secs(1));
    for byte in 4000_u32.to_be_bytes().into_iter().chain([0; 100]) {
        slow.tick().await;
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
    }
    rest(&mut stream).await;
    // The deadline for `Hello` is 5 s, and the server closes the connection at most 2 s later.
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    let (_server, mut stream) = raw(link, ServerConfig::default()).await;
    let connected = tokio::time::Instant::now();
    rest(&mut stream).await;
    assert!(
        connected.elapsed() <= Duration::from_secs(6),
        "{:?}",
        connected.elapsed()
    );
}

async fn version_mismatch_is_reported_without_a_penalty(link: EngineLink) {
    let (server, mut stream) = raw(link, ServerConfig::default()).await;
    let hello = crate::codec::Hello {
        min_version: 2,
        max_version: 3,
        client: "from the future".into(),
    };
    let mut bytes = bytes::BytesMut::new();
    let request = crate::codec::Request {
        id: crate::codec::RequestId(1),
        kind: RequestKind::Hello(hello),
    };
    client::encode_request(&request, &mut bytes);
    stream.write_all(&bytes).await.unwrap();
    let answer = rest(&mut stream).await;
    assert_eq!(closed_with(&answer), Some(CloseCode::UnsupportedVersion));
    let mut decoder = crate::codec::frame::FrameDecoder::new(usize::MAX);
    decoder.feed(answer[..].into());
    let Incoming::Reply {
        result: Err(refusal), ..
    } = client::decode(decoder.next_packet().unwrap().unwrap()).unwrap()
    else {
        panic!("no reply");
    };
    assert_eq!(refusal.code(), Some(ReplyCode::UnsupportedVersion));
    assert!(
        refusal.text.contains("version 1") && refusal.text.contains("versions 2 to 3"),
        "{}",
        refusal.text
    );
    assert_eq!(server.shared.connection_gate.stats().penalties, 0);
}

/// By default, two packets that are too large reach the sum of penalties from which the gate
/// rejects connections of their source; one does not.
async fn packet_beyond_the_limit_is_one_offence(link: EngineLink) {
    let mut config = ServerConfig::default();
    config.connection_limits.exempt_loopback = false;
    let builder = Server::builder(link.service(&engine(link).await)).config(config);
    let (builder, connector) = builder.memory();
    let _server = builder.bind().await.unwrap();
    let send_too_much = async || {
        let mut stream = connector.connect().await.unwrap();
        // A rejected connection may be closed before this is written.
        let _ = stream.write_all(&u32::MAX.to_be_bytes()).await;
        closed_with(&rest(&mut stream).await)
    };
    for _ in 0..2 {
        assert_eq!(send_too_much().await, Some(CloseCode::PacketTooLarge));
    }
    assert_ne!(send_too_much().await, Some(CloseCode::PacketTooLarge));
}

async fn guests_per_source_are_limited(link: EngineLink) {
    let mut config = ServerConfig::default();
    config.connection_limits = ConnectionLimits::default();
    config.connection_limits.exempt_loopback = false;
    config.connection_limits.max_unauthenticated_per_source = 3;
    let site = Site::new(link, config).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(site.peer().await);
    }
    assert!(
        Peer::connect(site.server.addresses()[0].1, site.keys.fingerprint())
            .await
            .is_err()
    );
    peers.clear();
    let again = async {
        while Peer::connect(site.server.addresses()[0].1, site.keys.fingerprint())
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT_TIMEOUT, again)
        .await
        .expect("a connection can be accepted again");
}

async fn login_beyond_the_source_limit_ends_no_older_session(link: EngineLink) {
    let mut config = ServerConfig::default();
    config.connection_limits = ConnectionLimits::default();
    config.connection_limits.exempt_loopback = false;
    config.connection_limits.max_authenticated_per_source = 1;
    let site = Site::new(link, config).await;
    let mut first = site.user("alice").await;
    let mut second = site.peer().await;
    let login = Login::new(named("alice"), Secret::new(PASSWORD), DeviceId::random());
    second.send(RequestKind::Login(login)).await.unwrap();
    assert!(matches!(
        second.next_push().await,
        Ok(Push::Closed(CloseCode::Overloaded))
    ));
    let Outcome::Devices(devices) = first.run(Command::ListDevices).await.unwrap() else {
        panic!("no list of devices");
    };
    assert_eq!(
        devices.len(),
        1,
        "the second login was rejected before it changed anything"
    );

    // A login that fails does not count.
    drop(first);
    let mut third = site.peer().await;
    while site.server.shared.connection_gate.stats().authenticated > 0 {
        tokio::task::yield_now().await;
    }
    assert!(third.login("nobody").await.is_err());
    third.login("alice").await.unwrap();
}

on_each_engine_link! {
    #[tokio::test]
    commands_before_login_are_rejected,
    #[tokio::test]
    connections_beyond_max_connections_are_closed,
    #[tokio::test]
    handshakes_beyond_the_rate_are_rejected_as_busy,
    #[tokio::test(start_paused = true)]
    slow_guest_is_closed_at_its_deadline,
    #[tokio::test]
    version_mismatch_is_reported_without_a_penalty,
    #[tokio::test]
    packet_beyond_the_limit_is_one_offence,
    #[tokio::test]
    guests_per_source_are_limited,
    #[tokio::test]
    login_beyond_the_source_limit_ends_no_older_session,
}
