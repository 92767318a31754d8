//! Tests with random scripts: no input makes a state machine panic or act after its end, and a
//! session counts every running command as in flight.

use proptest::prelude::*;

use super::*;

/// Generates packets: valid ones, random bytes, and valid packets in which one byte was changed.
fn packets() -> impl Strategy<Value = Bytes> {
    let sensible = (0u64..6, 0usize..9).prop_map(|(id, kind)| {
        packet(
            id,
            match kind {
                0 => hello(),
                1 => login(),
                2 => RequestKind::Ping,
                3 => RequestKind::Command(Command::Logout),
                4 => RequestKind::Command(Command::ListDevices),
                5 => RequestKind::Command(Command::SetPresence(PresenceState::Idle)),
                _ => RequestKind::Command(send(kind as u8)),
            },
        )
    });
    let noise = prop::collection::vec(any::<u8>(), 0..60).prop_map(Bytes::from);
    let mutated = (sensible.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(packet, at, byte)| {
        let mut packet = packet.to_vec();
        if !packet.is_empty() {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        Bytes::from(packet)
    });
    prop_oneof![6 => sensible, 1 => noise, 2 => mutated]
}

proptest! {
    #[test]
    fn guest_survives_random_scripts(packets in prop::collection::vec((packets(), 0.0..3.0), 0..40)) {
        let mut time = Time::new();
        let mut guest = Guest::new(Arc::new(config()), EPOCH, time.now().instant, time.now().instant);
        let mut ended = false;
        for (packet, wait) in packets {
            guest.handle_packet(time.now(), packet);
            while let Some(action) = guest.poll_action() {
                prop_assert!(!ended);
                match action {
                    GuestAction::Authenticate(ticket, _) => {
                        guest.handle_rejected(time.now().instant, ticket, Failure::new(ReplyCode::BadCredentials, ""));
                    }
                    GuestAction::ListNodes(ticket) => guest.handle_nodes(time.now().instant, ticket, Vec::new()),
                    GuestAction::Register(ticket, _) => guest.handle_registered(time.now().instant, ticket, Ok(alice())),
                    GuestAction::Close(_) => ended = true,
                    GuestAction::Send(_) => {}
                }
            }
            guest.handle_timeout(time.pass(wait).instant);
        }
    }

    #[test]
    fn session_survives_random_scripts(packets in prop::collection::vec((packets(), any::<bool>()), 0..80)) {
        let time = Time::new();
        let mut session = admitted(config(), &time);
        let mut running = Vec::new();
        let mut ended = false;
        for (packet, answer) in packets {
            session.handle_packet(time.now(), packet);
            while let Some(action) = session.poll_action() {
                prop_assert!(!ended);
                match action {
                    SessionAction::Run(id, _) => running.push(id),
                    SessionAction::Close(_) => ended = true,
                    SessionAction::Send(_) => {}
                }
            }
            if answer && !running.is_empty() {
                session.handle_outcome(time.now().instant, running.remove(0), Ok(Outcome::Done));
            }
            prop_assert!(session.in_flight() >= running.len() || ended);
        }
    }
}
