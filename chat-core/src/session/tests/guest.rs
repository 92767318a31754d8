//! Tests of [`Guest`].

use super::*;

fn guest(time: &Time) -> Guest {
    Guest::new(Arc::new(config()), EPOCH, time.now().instant, time.now().instant)
}

/// Passes packets to the guest. Returns the [`codes`] of what it sends, and its close code.
fn exchange(guest: &mut Guest, time: &Time, packets: &[Bytes]) -> (Vec<(u64, u32)>, Option<CloseCode>) {
    for packet in packets {
        guest.handle_packet(time.now(), packet.clone());
    }
    let mut sent = Vec::new();
    let mut end = None;
    while let Some(action) = guest.poll_action() {
        match action {
            GuestAction::Send(frames) => sent.extend(codes(frames)),
            GuestAction::Close(code) => end = Some(code),
            other => panic!("{other:?}"),
        }
    }
    (sent, end)
}

#[test]
fn guest_answers_hello_with_version_limits_epoch_and_time() {
    let time = Time::new();
    let mut guest = guest(&time);
    guest.handle_packet(time.now(), packet(1, hello()));
    let Some(GuestAction::Send(frames)) = guest.poll_action() else {
        panic!("no welcome");
    };
    let Incoming::Reply {
        result: Ok(Answer::Welcome(welcome)),
        ..
    } = read(frames).remove(0)
    else {
        panic!("no welcome");
    };
    assert_eq!(welcome.version, 1);
    assert_eq!(welcome.max_packet_bytes, 64 * 1024);
    assert_eq!(welcome.max_text_bytes, 16 * 1024);
    assert_eq!(welcome.heartbeat_ms, 30_000);
    assert_eq!(welcome.store_epoch, EPOCH);
    assert_eq!(welcome.server_time, time.now().time);
}

#[test]
fn guest_closes_unless_the_first_packet_is_hello() {
    let time = Time::new();
    for first in [login(), RequestKind::Ping, RequestKind::Command(Command::ListDevices)] {
        let (sent, end) = exchange(&mut guest(&time), &time, &[packet(5, first)]);
        assert_eq!(
            sent,
            [(5, code(ReplyCode::BadRequest)), closed(CloseCode::ProtocolError)]
        );
        assert_eq!(end, Some(CloseCode::ProtocolError));
    }
}

#[test]
fn guest_closes_on_second_hello() {
    let time = Time::new();
    let packets = [packet(1, hello()), packet(2, hello()), packet(3, RequestKind::Ping)];
    let (sent, end) = exchange(&mut guest(&time), &time, &packets);
    let bad = (2, code(ReplyCode::BadRequest));
    assert_eq!(
        sent,
        [(1, 0), bad, closed(CloseCode::ProtocolError)],
        "packets after the violation are ignored"
    );
    assert_eq!(end, Some(CloseCode::ProtocolError));
}

#[test]
fn guest_closes_without_a_common_version() {
    let time = Time::new();
    for (min_version, max_version) in [(2, 9), (0, 0), (1, 0), (u32::MAX, u32::MAX)] {
        let hello = RequestKind::Hello(Hello {
            min_version,
            max_version,
            client: String::new(),
        });
        let (sent, end) = exchange(&mut guest(&time), &time, &[packet(1, hello)]);
        let refused = (1, code(ReplyCode::UnsupportedVersion));
        assert_eq!(
            sent,
            [refused, closed(CloseCode::UnsupportedVersion)],
            "{min_version}..{max_version}"
        );
        assert_eq!(end, Some(CloseCode::UnsupportedVersion));
    }
}

#[test]
fn guest_rejects_commands_before_login() {
    let time = Time::new();
    let packets = [
        packet(1, hello()),
        command(2, list_contacts()),
        command(3, send(1)),
        packet(4, RequestKind::Ping),
    ];
    let (sent, end) = exchange(&mut guest(&time), &time, &packets);
    let refused = code(ReplyCode::NotLoggedIn);
    assert_eq!(sent, [(1, 0), (2, refused), (3, refused), (4, 0)]);
    assert_eq!(end, None);
}

#[test]
fn guest_closes_on_malformed_packets() {
    let time = Time::new();
    for malformed in [&b"\xff"[..], b"", b"\x12\x05\x1a\x03\xff\xff\xff"] {
        let (sent, end) = exchange(&mut guest(&time), &time, &[Bytes::from_static(malformed)]);
        assert_eq!(sent, [closed(CloseCode::ProtocolError)], "{malformed:?}");
        assert_eq!(end, Some(CloseCode::ProtocolError));
    }
}

#[test]
fn guest_registers_then_logs_in() {
    let time = Time::new();
    let mut guest = greeted(config(), &time);
    let register = RequestKind::Register(Registration {
        name: UserName::parse("alice").unwrap(),
        password: Secret::new("correct horse"),
        display_name: None,
    });
    guest.handle_packet(time.now(), packet(2, register));
    assert!(!guest.wants_input());
    let Some(GuestAction::Register(ticket, registration)) = guest.poll_action() else {
        panic!("no registration");
    };
    assert_eq!(registration.name.as_str(), "alice");
    guest.handle_registered(time.now().instant, ticket, Ok(alice()));
    assert!(guest.wants_input());
    assert_eq!(exchange(&mut guest, &time, &[]).0, [(2, 0)]);

    guest.handle_packet(time.now(), packet(3, login()));
    let Some(GuestAction::Authenticate(ticket, Credentials::Login(_))) = guest.poll_action() else {
        panic!("no login");
    };
    guest.handle_rejected(time.now().instant, ticket, Failure::new(ReplyCode::BadCredentials, ""));
    assert_eq!(
        exchange(&mut guest, &time, &[]).0,
        [(3, code(ReplyCode::BadCredentials))]
    );

    guest.handle_packet(time.now(), packet(4, login()));
    let Some(GuestAction::Authenticate(ticket, _)) = guest.poll_action() else {
        panic!("no login");
    };
    let mut session = guest.admit(time.now(), ticket, caller(), logged_in());
    assert_eq!(session.caller(), caller());
    assert_eq!(session.max_packet_bytes(), 64 * 1024);
    let Some(SessionAction::Send(frames)) = session.poll_action() else {
        panic!("no reply");
    };
    assert_eq!(codes(frames), [(4, 0)]);
}

#[test]
fn guest_reads_no_packet_during_a_login() {
    let time = Time::new();
    let mut guest = greeted(config(), &time);
    guest.handle_packet(time.now(), packet(2, login()));
    assert!(!guest.wants_input());
    assert_eq!(
        guest.poll_timeout(),
        None,
        "a guest that waits for the server has no deadline"
    );
    // A driver that reads anyway harms only this connection.
    guest.handle_packet(time.now(), packet(3, login()));
    let (sent, end) = exchange(&mut guest, &time, &[]);
    assert_eq!(
        sent,
        [(3, code(ReplyCode::BadRequest)), closed(CloseCode::ProtocolError)]
    );
    assert_eq!(end, Some(CloseCode::ProtocolError));
}

#[test]
fn guest_without_hello_is_closed() {
    let mut time = Time::new();
    let mut guest = guest(&time);
    let deadline = time.now().instant + Duration::from_secs(5);
    assert_eq!(guest.poll_timeout(), Some(deadline));
    guest.handle_timeout(time.pass(4.9).instant);
    assert_eq!(exchange(&mut guest, &time, &[]), (vec![], None));
    guest.handle_timeout(time.pass(0.1).instant);
    assert_eq!(
        exchange(&mut guest, &time, &[]),
        (vec![closed(CloseCode::Timeout)], Some(CloseCode::Timeout))
    );
    assert_eq!(guest.poll_timeout(), None);
    assert!(!guest.wants_input());
}

#[test]
fn guest_login_deadline_is_not_moved_by_other_packets() {
    let mut time = Time::new();
    let mut guest = greeted(config(), &time);
    for id in 0..9 {
        time.pass(1.0);
        let (sent, _) = exchange(&mut guest, &time, &[packet(10 + id, RequestKind::Ping)]);
        assert_eq!(sent, [(10 + id, 0)]);
    }
    guest.handle_timeout(time.pass(1.0).instant);
    assert_eq!(exchange(&mut guest, &time, &[]).1, Some(CloseCode::Timeout));
}

#[test]
fn guest_deadline_excludes_the_servers_time() {
    let mut time = Time::new();
    let mut guest = greeted(config(), &time);
    time.pass(4.0);
    for id in 2..5 {
        guest.handle_packet(time.now(), packet(id, login()));
        let Some(GuestAction::Authenticate(ticket, _)) = guest.poll_action() else {
            panic!("no login");
        };
        let now = time.pass(8.0).instant;
        guest.handle_timeout(now);
        guest.handle_rejected(now, ticket, Failure::new(ReplyCode::TryAgain, ""));
        guest.handle_timeout(now);
        let (sent, end) = exchange(&mut guest, &time, &[]);
        assert_eq!((sent, end), (vec![(id, code(ReplyCode::TryAgain))], None));
    }
    // The guest has used 4 of its 10 seconds.
    assert_eq!(guest.poll_timeout(), Some(time.now().instant + Duration::from_secs(6)));
    guest.handle_timeout(time.pass(6.0).instant);
    assert_eq!(exchange(&mut guest, &time, &[]).1, Some(CloseCode::Timeout));
}

#[test]
fn guest_has_less_time_for_hello_after_a_slow_handshake() {
    let mut time = Time::new();
    let accepted = time.now().instant;
    let now = time.pass(7.0).instant;
    let guest = Guest::new(Arc::new(config()), EPOCH, accepted, now);
    assert_eq!(guest.poll_timeout(), Some(accepted + Duration::from_secs(10)));
}

#[test]
fn guest_is_closed_after_too_many_packets() {
    let time = Time::new();
    let mut guest = greeted(config(), &time);
    let pings: Vec<_> = (0..32).map(|id| packet(10 + id, RequestKind::Ping)).collect();
    let (sent, end) = exchange(&mut guest, &time, &pings);
    assert_eq!(sent.len(), 32, "31 pongs and the close");
    assert_eq!(end, Some(CloseCode::Overloaded));
}

#[test]
fn guest_closes_on_invalid_second_hello() {
    let time = Time::new();
    let packets = [packet(1, hello()), packet(2, invalid_hello())];
    let (sent, end) = exchange(&mut guest(&time), &time, &packets);
    assert_eq!(
        sent[1..],
        [(2, code(ReplyCode::BadRequest)), closed(CloseCode::ProtocolError)]
    );
    assert_eq!(end, Some(CloseCode::ProtocolError));
}
