//! Tests of [`Session`].

use super::*;

/// Passes packets to the session while it wants input, as a driver does. Returns the number of
/// packets that it accepted.
fn feed(session: &mut Session, now: Now, packets: &[Bytes]) -> usize {
    packets
        .iter()
        .take_while(|packet| {
            let wanted = session.wants_input();
            if wanted {
                session.handle_packet(now, Bytes::clone(packet));
            }
            wanted
        })
        .count()
}

/// Drains the actions of a session. Returns the request ids of the commands to run, the [`codes`]
/// of the packets to send, and the close code.
fn drain(session: &mut Session) -> (Vec<u64>, Vec<(u64, u32)>, Option<CloseCode>) {
    let (mut run, mut sent, mut end) = (Vec::new(), Vec::new(), None);
    while let Some(action) = session.poll_action() {
        match action {
            SessionAction::Run(id, _) => run.push(id.0),
            SessionAction::Send(frames) => sent.extend(codes(frames)),
            SessionAction::Close(code) => end = Some(code),
        }
    }
    (run, sent, end)
}

fn done() -> Result<Outcome, Failure> {
    Ok(Outcome::Done)
}

#[test]
fn session_overlaps_sends_and_serialises_other_commands() {
    let time = Time::new();
    let now = time.now();
    let mut session = admitted(config(), &time);
    let packets = [
        command(10, send(1)),
        command(11, send(2)),
        command(12, list_contacts()),
        command(13, send(3)),
        command(14, Command::ListDevices),
    ];
    assert_eq!(feed(&mut session, now, &packets), 5);
    assert_eq!(drain(&mut session).0, [10, 11, 12], "13 waits for 12");
    session.handle_outcome(now.instant, RequestId(11), done());
    assert_eq!(drain(&mut session), (vec![], vec![(11, 0)], None));
    session.handle_outcome(now.instant, RequestId(12), done());
    assert_eq!(drain(&mut session), (vec![13, 14], vec![(12, 0)], None));
    for id in [14, 13, 10] {
        session.handle_outcome(now.instant, RequestId(id), done());
    }
    assert_eq!(drain(&mut session).1, [(14, 0), (13, 0), (10, 0)]);
    assert_eq!(session.in_flight(), 0);
}

#[test]
fn session_answers_a_packet_with_two_commands_once() {
    let time = Time::new();
    let now = time.now();
    let mut session = admitted(config(), &time);
    // Concatenated protobuf messages are one message with the fields of both.
    let both = [command(10, send(1)), command(11, Command::ListDevices)].concat();
    assert_eq!(feed(&mut session, now, &[both.into()]), 1);
    assert!(matches!(
        session.poll_action(),
        Some(SessionAction::Run(RequestId(11), Command::ListDevices))
    ));
    session.handle_outcome(now.instant, RequestId(11), done());
    assert_eq!(drain(&mut session), (vec![], vec![(11, 0)], None));
    assert_eq!(session.in_flight(), 0);
}

#[test]
fn session_bounds_requests_in_flight() {
    let time = Time::new();
    let now = time.now();
    let mut config = config();
    config.message_rate_per_connection = crate::rate::Rate::UNLIMITED;
    let mut session = admitted(config, &time);
    let packets: Vec<_> = (0..100).map(|n| command(100 + n, send(n as u8))).collect();
    assert_eq!(feed(&mut session, now, &packets), 64);
    assert!(!session.wants_input());
    assert_eq!(session.poll_timeout(), None, "a peer that is not read is not silent");
    assert_eq!(drain(&mut session).0.len(), 64);
    session.handle_outcome(now.instant, RequestId(100), done());
    assert!(session.wants_input());
}

#[test]
fn session_accepts_ten_thousand_sends_in_order_at_its_rate() {
    let mut time = Time::new();
    let mut session = admitted(config(), &time);
    let packets: Vec<_> = (0..10_000).map(|n| command(100 + n, send(n as u8))).collect();
    let mut accepted = 0;
    let mut ran = Vec::new();
    while accepted < packets.len() {
        accepted += feed(&mut session, time.now(), &packets[accepted..]);
        let (run, _, end) = drain(&mut session);
        assert_eq!(end, None);
        for id in &run {
            session.handle_outcome(time.now().instant, RequestId(*id), done());
        }
        ran.extend(run);
        drain(&mut session);
        if !session.wants_input() {
            let wake = session.poll_timeout().expect("the pause has an end");
            time.passed = wake - time.start;
            session.handle_timeout(wake);
            assert!(session.wants_input());
        }
    }
    assert_eq!(ran, (100..10_100).collect::<Vec<u64>>());
    let seconds = time.passed.as_secs_f64();
    assert!(
        (85.0..95.0).contains(&seconds),
        "100 a second after 1000 at once: {seconds}"
    );
}

#[test]
fn session_is_closed_after_two_and_a_half_silent_heartbeats() {
    let mut time = Time::new();
    let mut session = admitted(config(), &time);
    session.handle_timeout(time.pass(74.0).instant);
    feed(&mut session, time.now(), &[packet(5, RequestKind::Ping)]);
    assert_eq!(drain(&mut session).1, [(5, 0)]);
    session.handle_timeout(time.pass(74.9).instant);
    assert_eq!(drain(&mut session).2, None);
    session.handle_timeout(time.pass(0.1).instant);
    let (_, sent, end) = drain(&mut session);
    assert_eq!(
        (sent, end),
        (vec![closed(CloseCode::Timeout)], Some(CloseCode::Timeout))
    );
}

#[test]
fn session_does_not_count_the_servers_time_as_silence() {
    let mut time = Time::new();
    let mut config = config();
    config.max_requests_in_flight = 1;
    let mut session = admitted(config, &time);
    feed(&mut session, time.now(), &[command(5, Command::ListDevices)]);
    assert_eq!(drain(&mut session).0, [5]);
    let now = time.pass(100.0).instant;
    session.handle_timeout(now);
    session.handle_outcome(now, RequestId(5), done());
    session.handle_timeout(now);
    assert_eq!(drain(&mut session), (vec![], vec![(5, 0)], None));
    assert_eq!(session.poll_timeout(), Some(now + Duration::from_secs(75)));
}

#[test]
fn session_that_is_not_read_is_not_silent() {
    let mut time = Time::new();
    let mut session = admitted(config(), &time);
    time.pass(70.0);
    session.set_reading(time.now().instant, false);
    assert_eq!(session.poll_timeout(), None);
    session.handle_timeout(time.pass(300.0).instant);
    assert_eq!(drain(&mut session).2, None);
    let now = time.now().instant;
    for _ in 0..2 {
        session.set_reading(now, true);
        assert_eq!(session.poll_timeout(), Some(now + Duration::from_secs(75)));
        time.pass(1.0);
    }
    session.set_reading(time.now().instant, true);
    session.handle_timeout(time.pass(73.0).instant);
    assert_eq!(
        drain(&mut session).2,
        Some(CloseCode::Timeout),
        "the driver never stopped reading"
    );
}

#[test]
fn logout_waits_for_earlier_commands_and_ends_the_session() {
    let time = Time::new();
    let now = time.now();
    let mut session = admitted(config(), &time);
    let packets = [command(10, send(1)), command(11, Command::Logout), command(12, send(2))];
    feed(&mut session, now, &packets);
    assert_eq!(drain(&mut session).0, [10]);
    session.handle_outcome(now.instant, RequestId(10), done());
    assert_eq!(drain(&mut session), (vec![11], vec![(10, 0)], None));
    session.handle_outcome(now.instant, RequestId(11), done());
    let (run, sent, end) = drain(&mut session);
    assert!(run.is_empty(), "command 12 follows the logout, so it does not run");
    assert_eq!(sent, [(11, 0), closed(CloseCode::LoggedOut)]);
    assert_eq!(end, Some(CloseCode::LoggedOut));
    assert_eq!(session.poll_timeout(), None);
}

#[test]
fn session_continues_after_a_failed_logout() {
    let time = Time::new();
    let mut session = admitted(config(), &time);
    feed(&mut session, time.now(), &[command(11, Command::Logout)]);
    drain(&mut session);
    let refused = Err(Failure::new(ReplyCode::TryAgain, ""));
    session.handle_outcome(time.now().instant, RequestId(11), refused);
    assert_eq!(
        drain(&mut session),
        (vec![], vec![(11, code(ReplyCode::TryAgain))], None)
    );
}

#[test]
fn session_ends_after_a_fenced_command() {
    let time = Time::new();
    let mut session = admitted(config(), &time);
    feed(&mut session, time.now(), &[command(10, send(1))]);
    drain(&mut session);
    let fenced = Err(Failure::new(ReplyCode::Fenced, ""));
    session.handle_outcome(time.now().instant, RequestId(10), fenced);
    let (_, sent, end) = drain(&mut session);
    assert_eq!(sent, [(10, code(ReplyCode::Fenced)), closed(CloseCode::Replaced)]);
    assert_eq!(end, Some(CloseCode::Replaced));
}

#[test]
fn session_closes_with_the_close_code_of_a_fenced_command() {
    for reason in [CloseCode::Revoked, CloseCode::AccountDisabled, CloseCode::Replaced] {
        let time = Time::new();
        let mut session = admitted(config(), &time);
        feed(&mut session, time.now(), &[command(10, send(1))]);
        drain(&mut session);
        let fenced = Failure::from(crate::service::CommandError::fenced(reason));
        session.handle_outcome(time.now().instant, RequestId(10), Err(fenced));
        let (_, sent, end) = drain(&mut session);
        assert_eq!(sent, [(10, code(ReplyCode::Fenced)), closed(reason)]);
        assert_eq!(end, Some(reason));
    }
}

#[test]
fn session_rejects_login_and_hello() {
    let time = Time::new();
    let mut session = admitted(config(), &time);
    feed(&mut session, time.now(), &[packet(5, login())]);
    assert_eq!(drain(&mut session).1, [(5, code(ReplyCode::AlreadyLoggedIn))]);
    feed(&mut session, time.now(), &[packet(6, hello())]);
    let (_, sent, end) = drain(&mut session);
    assert_eq!(
        sent,
        [(6, code(ReplyCode::BadRequest)), closed(CloseCode::ProtocolError)]
    );
    assert_eq!(end, Some(CloseCode::ProtocolError));
}

#[test]
fn session_closes_on_a_request_id_in_use() {
    let time = Time::new();
    let mut session = admitted(config(), &time);
    feed(&mut session, time.now(), &[command(5, send(1))]);
    assert_eq!(drain(&mut session).0, [5]);
    session.handle_outcome(time.now().instant, RequestId(5), done());
    feed(&mut session, time.now(), &[command(5, send(2))]);
    assert_eq!(
        drain(&mut session),
        (vec![5], vec![(5, 0)], None),
        "the id of an answered request is free"
    );
    feed(&mut session, time.now(), &[command(5, send(3))]);
    assert_eq!(drain(&mut session).2, Some(CloseCode::ProtocolError));
}

#[test]
fn session_sends_no_reply_without_a_request_id() {
    let time = Time::new();
    let now = time.now();
    let mut session = admitted(config(), &time);
    let acknowledge = |conversation| {
        let conversation = ConversationId(conversation);
        command(
            0,
            Command::Acknowledge {
                conversation,
                seq: Seq(7),
            },
        )
    };
    let packets = [
        acknowledge(9),
        acknowledge(9),
        acknowledge(0), // invalid, and it wants no reply
        command(0, Command::SetPresence(PresenceState::Idle)),
    ];
    assert_eq!(feed(&mut session, now, &packets), 4);
    assert_eq!(drain(&mut session).0, [0, 0, 0]);
    assert_eq!(session.in_flight(), 3);
    for _ in 0..3 {
        session.handle_outcome(now.instant, RequestId::NONE, done());
    }
    assert_eq!(drain(&mut session), (vec![], vec![], None));
    assert_eq!(session.in_flight(), 0);
    // `ListDevices` has a result, so a request for it needs an id.
    feed(&mut session, now, &[command(0, Command::ListDevices)]);
    assert_eq!(drain(&mut session).2, Some(CloseCode::ProtocolError));
}

#[test]
fn session_continues_after_an_invalid_request() {
    let time = Time::new();
    let mut session = admitted(config(), &time);
    let packets = [
        Bytes::from_static(b"\x08\x05"),             // no command
        Bytes::from_static(b"\x08\x06\xfa\x3e\x00"), // field 1007
        command(7, Command::ListDevices),
    ];
    feed(&mut session, time.now(), &packets);
    let unknown = code(ReplyCode::UnknownCommand);
    assert_eq!(drain(&mut session), (vec![7], vec![(5, unknown), (6, unknown)], None));
}

#[test]
fn session_closes_at_the_drivers_request() {
    let time = Time::new();
    let mut session = admitted(config(), &time);
    feed(
        &mut session,
        time.now(),
        &[command(5, send(1)), command(6, Command::Logout)],
    );
    assert_eq!(drain(&mut session).0, [5]);
    session.go_away(2500);
    session.close(CloseCode::GoingAway);
    session.close(CloseCode::Internal);
    let Some(SessionAction::Send(frames)) = session.poll_action() else {
        panic!("no packet was sent");
    };
    let expected = [
        Incoming::Push(Push::GoAway { retry_after_ms: 2500 }),
        Incoming::Push(Push::Closed(CloseCode::GoingAway)),
    ];
    assert_eq!(read(frames), expected);
    assert!(matches!(
        session.poll_action(),
        Some(SessionAction::Close(CloseCode::GoingAway))
    ));
    session.handle_outcome(time.now().instant, RequestId(5), done());
    assert_eq!(
        drain(&mut session),
        (vec![], vec![], None),
        "no reply is sent after the close"
    );
}

#[test]
fn fit_page_limits_the_encoded_size() {
    let time = Time::new();
    let mut config = config();
    config.max_page_bytes = 300;
    let event = |seq: u64| HistoryEvent {
        event: Event {
            conversation: ConversationId(9),
            seq: Seq(seq),
            id: EventId([1; 16]),
            sender: UserId(1),
            device: None,
            client_message_id: None,
            fingerprint: 0,
            time: Timestamp(1),
            kind: EventKind::Message,
            target: None,
            message_count: 0,
            edited_seq: Some(Seq(9)),
            recalled_seq: None,
            body: Bytes::new(),
        },
        edited_text: Some("x".repeat(100)),
    };
    let cases = [
        (PageFrom::After(Seq(0)), vec![1, 2]),
        (PageFrom::Newest, vec![2, 3]),
        (PageFrom::Before(Seq(4)), vec![2, 3]),
    ];
    for (from, expected) in cases {
        let mut session = admitted(config.clone(), &time);
        let read_history = Command::ReadHistory {
            conversation: ConversationRef::Id(ConversationId(9)),
            page: Page {
                from,
                max_events: 100,
                max_bytes: 1000,
            },
        };
        feed(&mut session, time.now(), &[command(5, read_history)]);
        drain(&mut session);
        let page = HistoryPage {
            conversation: ConversationId(9),
            events: (1..=3).map(event).collect(),
            has_more: false,
            first_seq: Seq(1),
            last_seq: Seq(3),
        };
        session.handle_outcome(time.now().instant, RequestId(5), Ok(Outcome::History(page)));
        let Some(SessionAction::Send(frames)) = session.poll_action() else {
            panic!("no page");
        };
        let Incoming::Reply {
            result: Ok(Answer::Outcome(Outcome::History(page))),
            ..
        } = read(frames).remove(0)
        else {
            panic!("no page");
        };
        let seqs: Vec<u64> = page.events.iter().map(|event| event.event.seq.0).collect();
        assert_eq!(seqs, expected, "{from:?}");
        assert!(page.has_more);
    }
}

#[test]
fn session_that_the_engine_has_ended_hands_out_no_command() {
    let time = Time::new();
    let mut session = admitted(config(), &time);
    let list = |id| command(id, list_contacts());
    feed(&mut session, time.now(), &[list(5), list(6)]);
    assert_eq!(drain(&mut session), (vec![5], vec![], None));
    session.end_commands();
    assert!(!session.wants_input());
    session.handle_packet(time.now(), list(7));
    session.handle_outcome(time.now().instant, RequestId(5), done());
    assert_eq!(drain(&mut session), (vec![], vec![(5, 0)], None));
    assert_eq!((session.in_flight(), session.poll_timeout()), (0, None));
    // The driver sends the engine's close code, so a fenced command does not close the session with
    // `Replaced`.
    let mut session = admitted(config(), &time);
    feed(&mut session, time.now(), &[list(5)]);
    drain(&mut session);
    session.end_commands();
    let fenced = Err(Failure::new(ReplyCode::Fenced, "over"));
    session.handle_outcome(time.now().instant, RequestId(5), fenced);
    let (_, sent, end) = drain(&mut session);
    assert_eq!((sent.len(), end), (1, None));
}

/// Returns a search with an unacceptable limit.
fn invalid_search() -> Command {
    Command::SearchUsers {
        query: "a".to_owned(),
        limit: 10_000,
    }
}

#[test]
fn invalid_request_with_the_id_of_another_ends_the_session() {
    let time = Time::new();
    let mut session = admitted(config(), &time);
    feed(&mut session, time.now(), &[command(5, list_contacts())]);
    assert_eq!(drain(&mut session).0, [5]);
    feed(&mut session, time.now(), &[command(5, invalid_search())]);
    let (_, sent, end) = drain(&mut session);
    assert_eq!(
        sent,
        [(5, code(ReplyCode::BadRequest)), closed(CloseCode::ProtocolError)]
    );
    assert_eq!(end, Some(CloseCode::ProtocolError));

    let mut session = admitted(config(), &time);
    feed(&mut session, time.now(), &[command(5, invalid_search())]);
    assert_eq!(
        drain(&mut session),
        (vec![], vec![(5, code(ReplyCode::InvalidArgument))], None)
    );
}

#[test]
fn invalid_hello_ends_the_session() {
    let time = Time::new();
    let mut session = admitted(config(), &time);
    feed(&mut session, time.now(), &[packet(5, invalid_hello())]);
    let (_, sent, end) = drain(&mut session);
    assert_eq!(
        sent,
        [(5, code(ReplyCode::BadRequest)), closed(CloseCode::ProtocolError)]
    );
    assert_eq!(end, Some(CloseCode::ProtocolError));
}
