use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::model::Source;

const SECOND: Duration = Duration::from_secs(1);

fn source(n: u32) -> Source {
    Source::Ip(n.to_be_bytes().into())
}

/// Returns a gate whose limits never apply, except for those that `set` changes.
fn gate(set: impl FnOnce(&mut ConnectionLimits)) -> ConnectionGate {
    let mut limits = ConnectionLimits::danger_unlimited();
    set(&mut limits);
    ConnectionGate::new(limits, 1)
}

#[test]
fn penalties_add_up() {
    use Offence::{Malformed, TimedOut};

    // The offences with their seconds; the second of a new connection; the remaining seconds of the
    // penalty if the connection is refused.
    type Case = (&'static [(u32, Offence)], u32, Option<u64>);
    let cases: &[Case] = &[
        (&[], 0, None),
        (&[(0, Malformed)], 0, None),
        (&[(0, Malformed), (0, TimedOut)], 0, Some(20)),
        (&[(0, Malformed), (0, TimedOut)], 19, Some(1)), // once enforced, also below the minimum
        (&[(0, Malformed), (0, TimedOut)], 20, None),
        (&[(0, Malformed), (0, TimedOut), (20, TimedOut)], 20, None), // the penalty is over; a new sum starts
        (&[(0, Malformed), (0, TimedOut), (19, TimedOut)], 19, Some(11)),
        (&[(0, Malformed), (11, TimedOut)], 11, None),
    ];
    for (offences, at, refused) in cases {
        let gate = gate(|limits| limits.penalties = PenaltyOptions::default());
        let start = Instant::now();
        for (second, offence) in *offences {
            gate.penalise(start + *second * SECOND, source(1), *offence);
        }
        let seen = gate.admit(start + *at * SECOND, source(1)).err();
        assert_eq!(
            seen,
            refused.map(|s| ConnectionRefused::Penalised(Duration::from_secs(s))),
            "{offences:?} at {at}"
        );
        assert!(
            gate.admit(start + *at * SECOND, source(2)).is_ok(),
            "other sources are not affected"
        );
    }
}

#[test]
fn failed_logins_delay_logins_and_refuse_no_connection() {
    // The seconds of failed logins, the second of the next login, and its wait.
    let cases: &[(&[u32], u32, Option<u64>)] = &[
        (&[0, 0], 0, None),
        (&[0, 0, 0], 0, Some(15)),
        (&[0, 1, 2], 2, None), // 13 s are left: below the minimum
        (&[0, 0, 0], 14, Some(1)),
        (&[0, 0, 0], 15, None),
        (&[0, 0, 0, 14], 14, Some(6)),
    ];
    for (failed, at, wait) in cases {
        let gate = gate(|limits| limits.penalties = PenaltyOptions::default());
        let start = Instant::now();
        let guest = gate.admit(start, source(1)).unwrap();
        for second in *failed {
            guest.penalise(start + *second * SECOND, Offence::AuthFailed);
        }
        let now = start + *at * SECOND;
        let next = gate.admit(now, source(1)).expect("a connection is not refused");
        assert_eq!(
            next.login_wait(now),
            wait.map(Duration::from_secs),
            "{failed:?} at {at}"
        );
        assert_eq!(gate.admit(now, source(2)).unwrap().login_wait(now), None);
    }
}

/// Colleagues share the address of their office.
#[test]
fn source_with_open_sessions_is_not_penalised() {
    let gate = gate(|limits| limits.penalties = PenaltyOptions::default());
    let now = Instant::now();
    let guest = gate.admit(now, source(1)).unwrap();
    let misbehave = || {
        for offence in [Offence::AuthFailed, Offence::Malformed, Offence::TimedOut] {
            (0..3).for_each(|_| guest.penalise(now, offence));
        }
    };
    let mut colleague = gate.admit(now, source(1)).unwrap();
    colleague.count_as_authenticated().unwrap();
    misbehave();
    assert_eq!((guest.login_wait(now), gate.stats().penalties), (None, 0));
    // A session that opens later lifts the penalties while it is open.
    colleague.count_as_unauthenticated();
    misbehave();
    assert!(guest.login_wait(now).is_some() && gate.admit(now, source(1)).is_err());
    colleague.count_as_authenticated().unwrap();
    assert!(guest.login_wait(now).is_none() && gate.admit(now, source(1)).is_ok());
    // The only session of a source does not protect the source from its own offences.
    drop((colleague, guest));
    let later = now + 600 * SECOND;
    let mut only = gate.admit(later, source(1)).unwrap();
    only.count_as_authenticated().unwrap();
    (0..2).for_each(|_| only.penalise(later, Offence::Malformed));
    drop(only);
    assert!(gate.admit(later, source(1)).is_err());
}

/// Somebody else at the address of an office must not be able to lock out the devices that are
/// usually there, at a time when none of them has a session.
#[test]
fn penalties_do_not_reject_the_connections_of_a_known_source() {
    let gate = gate(|limits| limits.penalties = PenaltyOptions::default());
    let start = Instant::now();
    let mut device = gate.admit(start, source(1)).unwrap();
    device.count_as_authenticated().unwrap();
    device.record_login(start);
    drop(device);
    let misbehave = |now, from| (0..9).for_each(|_| gate.penalise(now, from, Offence::Malformed));
    misbehave(start, source(1));
    misbehave(start, source(2));
    assert!(gate.admit(start, source(1)).is_ok() && gate.admit(start, source(2)).is_err());
    // Wrong passwords delay logins without a device token from a known source too.
    let guest = gate.admit(start, source(1)).unwrap();
    (0..3).for_each(|_| guest.penalise(start, Offence::AuthFailed));
    assert!(guest.login_wait(start).is_some());
    drop(guest);
    let month = 30 * 24 * 3600 * SECOND;
    misbehave(start + month, source(1));
    assert!(gate.admit(start + month, source(1)).is_err());
}

#[test]
fn sum_of_penalties_is_limited() {
    let gate = gate(|limits| limits.penalties = PenaltyOptions::default());
    let start = Instant::now();
    for _ in 0..10_000 {
        gate.penalise(start, source(1), Offence::Malformed);
    }
    assert_eq!(
        gate.admit(start, source(1)).unwrap_err(),
        ConnectionRefused::Penalised(600 * SECOND)
    );
    assert!(gate.admit(start + 600 * SECOND, source(1)).is_ok());
}

#[test]
fn penalty_table_is_bounded_and_keeps_long_penalties() {
    let gate = gate(|limits| {
        limits.penalties = PenaltyOptions::default();
        limits.max_table_entries = 1000;
    });
    let start = Instant::now();
    for _ in 0..60 {
        gate.penalise(start, source(0), Offence::Malformed);
    }
    for n in 1..50_000 {
        gate.penalise(start, source(n), Offence::TimedOut);
    }
    assert_eq!(gate.stats().penalties, 1000);
    assert!(gate.admit(start, source(0)).is_err());
}

#[test]
fn source_is_limited_to_twenty_connections_before_login() {
    let gate = gate(|limits| limits.max_unauthenticated_per_source = 20);
    let now = Instant::now();
    let mut open: Vec<ConnectionPermit> = (0..20).map(|_| gate.admit(now, source(1)).unwrap()).collect();
    assert_eq!(gate.admit(now, source(1)).unwrap_err(), ConnectionRefused::SourceFull);
    assert!(gate.admit(now, source(2)).is_ok());
    open.pop();
    assert!(
        gate.admit(now, source(1)).is_ok(),
        "a closed connection frees its place"
    );
    for permit in &mut open {
        permit.count_as_authenticated().unwrap();
    }
    assert_eq!((gate.stats().unauthenticated, gate.stats().authenticated), (0, 19));
    assert!(
        gate.admit(now, source(1)).is_ok(),
        "a connection that has logged in frees its place"
    );
    drop(open);
    assert_eq!(
        (
            gate.stats().unauthenticated,
            gate.stats().authenticated,
            gate.stats().sources
        ),
        (0, 0, 0)
    );
}

#[test]
fn ipv6_network_of_64_bits_is_one_source() {
    let gate = gate(|limits| limits.max_unauthenticated_per_source = 20);
    let now = Instant::now();
    let address = |host: u128| {
        Source::Ip(std::net::IpAddr::V6(
            (0x2001_0db8_0000_0000_0000_0000_0000_0000_u128 | host).into(),
        ))
    };
    let open: Vec<ConnectionPermit> = (1..=20).map(|host| gate.admit(now, address(host)).unwrap()).collect();
    assert_eq!(gate.admit(now, address(21)).unwrap_err(), ConnectionRefused::SourceFull);
    assert!(gate.admit(now, address(1 << 64)).is_ok());
    drop(open);
}

#[test]
fn ipv6_network_of_48_bits_has_eight_times_the_limits() {
    let gate = gate(|limits| {
        limits.max_unauthenticated_per_source = 3;
        limits.max_authenticated_per_source = 2;
    });
    let now = Instant::now();
    // Address of a host in a /64 network, which is in the given /48 network.
    let address = |site: u16, network: u16, host: u16| {
        Source::Ip(std::net::Ipv6Addr::from([0x2001, 0xdb8, site, network, 0, 0, 0, host]).into())
    };
    let mut open = Vec::new();
    for network in 0..8 {
        for host in 0..3 {
            open.push(gate.admit(now, address(0, network, host)).unwrap());
        }
    }
    let refused = gate.admit(now, address(0, 8, 0)).unwrap_err();
    assert_eq!(refused, ConnectionRefused::SourceFull, "the /48 network is full");
    assert!(gate.admit(now, address(1, 0, 0)).is_ok(), "another /48 network");
    open.pop();
    open.push(gate.admit(now, address(0, 8, 0)).unwrap());
    let logged_in = open
        .iter_mut()
        .filter_map(|permit| permit.count_as_authenticated().ok())
        .count();
    assert_eq!(logged_in, 16, "two in each /64 network but the last");
    let mut late = gate.admit(now, address(0, 9, 0)).unwrap();
    assert_eq!(late.count_as_authenticated(), Err(ConnectionRefused::SourceFull));
    open.clear();
    assert_eq!(late.count_as_authenticated(), Ok(()));
}

#[test]
fn source_is_limited_in_authenticated_connections() {
    let gate = gate(|limits| limits.max_authenticated_per_source = 2);
    let now = Instant::now();
    let mut open: Vec<ConnectionPermit> = (0..3).map(|_| gate.admit(now, source(1)).unwrap()).collect();
    let results: Vec<_> = open.iter_mut().map(ConnectionPermit::count_as_authenticated).collect();
    assert_eq!(results, [Ok(()), Ok(()), Err(ConnectionRefused::SourceFull)]);
    assert_eq!(
        open[0].count_as_authenticated(),
        Ok(()),
        "a second call changes nothing"
    );
    assert_eq!((gate.stats().unauthenticated, gate.stats().authenticated), (1, 2));
    drop(open.remove(0));
    assert_eq!(open[1].count_as_authenticated(), Ok(()));
    // After a failed login, the connection no longer counts as after login.
    for _ in 0..2 {
        open[1].count_as_unauthenticated();
    }
    assert_eq!((gate.stats().unauthenticated, gate.stats().authenticated), (1, 1));
    open.push(gate.admit(now, source(1)).unwrap());
    assert_eq!(open[2].count_as_authenticated(), Ok(()));
    assert_eq!(open[1].count_as_authenticated(), Err(ConnectionRefused::SourceFull));
    open.clear();
    assert_eq!((gate.stats().unauthenticated, gate.stats().authenticated), (0, 0));
}

#[test]
fn source_is_limited_in_new_connections() {
    let gate =
        gate(|limits| limits.connection_rate_per_source = ConnectionLimits::default().connection_rate_per_source);
    let now = Instant::now();
    for _ in 0..60 {
        drop(gate.admit(now, source(1)).unwrap());
    }
    assert!(matches!(gate.admit(now, source(1)).unwrap_err(), ConnectionRefused::TooFast(wait) if wait <= SECOND));
    assert!(gate.admit(now, source(2)).is_ok());
    let later = now + 10 * SECOND;
    let again = (0..100).filter(|_| gate.admit(later, source(1)).is_ok()).count();
    assert_eq!(again, 30);
}

#[test]
fn early_drop_begins_at_half_of_the_limit_before_login() {
    let gate = gate(|limits| {
        limits.max_unauthenticated = 1000;
        limits.early_drop_from = 50;
        limits.early_drop_chance = 30;
    });
    let now = Instant::now();
    let mut open = Vec::new();
    let mut tried = 0_u32;
    while open.len() < 500 {
        open.push(gate.admit(now, source(tried)).expect("nothing is dropped below half"));
        tried += 1;
    }
    let dropped = (0..2000)
        .filter(|_| gate.admit(now, source(1)).map(drop) == Err(ConnectionRefused::EarlyDrop))
        .count();
    assert!((500..700).contains(&dropped), "{dropped} of 2000, expected 600");
    while open.len() < 1000 {
        match gate.admit(now, source(tried)) {
            Ok(permit) => open.push(permit),
            Err(refusal) => assert_eq!(refusal, ConnectionRefused::EarlyDrop),
        }
        tried += 1;
    }
    assert_eq!(gate.admit(now, source(1)).unwrap_err(), ConnectionRefused::NodeFull);
    drop(open);
    assert!(gate.admit(now, source(1)).is_ok());
}

#[test]
fn gates_with_the_same_seed_decide_alike() {
    let decisions = |seed| -> Vec<bool> {
        let limits = ConnectionLimits {
            early_drop_from: 0,
            early_drop_chance: 50,
            ..ConnectionLimits::default()
        };
        let gate = ConnectionGate::new(limits, seed);
        (0..60).map(|n| gate.admit(Instant::now(), source(n)).is_ok()).collect()
    };
    assert_eq!(decisions(1), decisions(1));
    assert_ne!(decisions(1), decisions(2));
}

proptest! {
    #[test]
    fn counts_match_the_open_connections(steps in prop::collection::vec((0u8..3, 0u32..5, 0usize..20), 0..200)) {
        let gate = gate(|limits| {
            limits.max_unauthenticated = 12;
            limits.max_unauthenticated_per_source = 4;
            limits.max_authenticated_per_source = 3;
        });
        let now = Instant::now();
        let mut open: Vec<ConnectionPermit> = Vec::new();
        let mut authenticated = 0;
        for (step, from, which) in steps {
            match step {
                0 => open.extend(gate.admit(now, source(from))),
                1 if !open.is_empty() => {
                    let which = which % open.len();
                    let before = gate.stats().authenticated;
                    open[which].count_as_authenticated().ok();
                    authenticated += gate.stats().authenticated - before;
                }
                2 if !open.is_empty() => {
                    let before = gate.stats().authenticated;
                    drop(open.swap_remove(which % open.len()));
                    authenticated -= before - gate.stats().authenticated;
                }
                _ => {}
            }
            let stats = gate.stats();
            prop_assert_eq!(stats.unauthenticated as usize + stats.authenticated as usize, open.len());
            prop_assert_eq!(stats.authenticated, authenticated);
            prop_assert!(stats.unauthenticated <= 12);
        }
        drop(open);
        prop_assert_eq!(gate.stats().sources, 0);
    }
}

#[test]
fn exempt_loopback_is_subject_to_the_limits_of_the_node_only() {
    let local = Source::Ip([127, 0, 0, 1].into());
    for (exempt_loopback, admitted) in [(true, 5), (false, 2)] {
        let gate = gate(|limits| {
            limits.exempt_loopback = exempt_loopback;
            limits.max_unauthenticated = 5;
            limits.max_unauthenticated_per_source = 2;
        });
        let permits: Vec<_> = (0..6).map_while(|_| gate.admit(Instant::now(), local).ok()).collect();
        assert_eq!(permits.len(), admitted, "exempt_loopback = {exempt_loopback}");
    }
}
