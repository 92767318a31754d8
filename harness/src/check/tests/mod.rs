//! Tests that a history without violations passes the check, and that each change that breaks a
//! rule is reported.

#![allow(clippy::unwrap_used)] // these are tests

mod completeness;
mod memberships;
mod violations;

use super::{Rule, check};
use crate::history::{Digest, EventRecord, History, LogPosition, Observation, Record};

const GROUP: u64 = 7;
const DIRECT: u64 = 8;

fn position(conversation: u64, seq: u64) -> LogPosition {
    LogPosition { conversation, seq }
}

fn event(conversation: u64, seq: u64, sender: u64, message: Option<&str>) -> EventRecord {
    EventRecord {
        position: position(conversation, seq),
        event: format!("event-{conversation}-{seq}"),
        sender,
        time: 1000 + i64::try_from(seq).unwrap(),
        message: message.map(str::to_owned),
        digest: message.map(|text| Digest::of(text.as_bytes())),
        joined: Vec::new(),
        left: Vec::new(),
    }
}

/// Returns a history without violations: users 1, 2 and 3 are in a group, which user 3 leaves, and
/// users 1 and 2 have a direct conversation. Each run has the number of its user.
fn history() -> Vec<Observation> {
    let mut history = Vec::new();
    for run in [1, 2, 3] {
        let device = format!("device-{run}");
        history.push(Observation::Run {
            run,
            user: run,
            device,
            cursors: Vec::new(),
        });
        history.push(Observation::LoggedIn {
            run,
            server: "a".into(),
        });
    }
    let mut log = vec![EventRecord {
        joined: vec![1],
        ..event(GROUP, 1, 1, None)
    }];
    log.push(EventRecord {
        joined: vec![2, 3],
        ..event(GROUP, 2, 1, None)
    });
    for (seq, run, message) in [(3, 1, "m1"), (4, 2, "m2"), (5, 1, "m3")] {
        add_message(&mut history, &mut log, GROUP, seq, run, message);
    }
    log.push(EventRecord {
        left: vec![3],
        ..event(GROUP, 6, 3, None)
    });
    add_message(&mut history, &mut log, GROUP, 7, 2, "m4");
    add_message(&mut history, &mut log, DIRECT, 1, 1, "d1");
    add_message(&mut history, &mut log, DIRECT, 2, 1, "d2");
    history.push(Observation::Refused {
        run: 3,
        message: "late".into(),
        reason: "not a member".into(),
    });
    for event in &log {
        for run in [1, 2, 3] {
            let readable = run < 3 || (event.position.conversation == GROUP && event.position.seq <= 6);
            if readable {
                history.push(Observation::Delivered {
                    run,
                    epoch: "e".into(),
                    event: event.clone(),
                });
            }
        }
    }
    history.extend([1, 2, 3].map(|run| Observation::Finished { run }));
    for source in ["node", "database"] {
        let logged = |event: &EventRecord| Observation::Logged {
            source: source.into(),
            epoch: "e".into(),
            event: event.clone(),
        };
        history.extend(log.iter().map(logged));
        history.extend([(GROUP, 7), (DIRECT, 2)].map(|(id, seq)| Observation::Head {
            source: source.into(),
            last: position(id, seq),
            asked: u64::MAX,
        }));
    }
    for (user, conversation, until) in [
        (1, GROUP, None),
        (2, GROUP, None),
        (3, GROUP, Some(6)),
        (1, DIRECT, None),
        (2, DIRECT, None),
    ] {
        history.push(Observation::Member {
            user,
            first: position(conversation, 1),
            until,
        });
    }
    history
}

/// Adds a message to the log, and its sending and acknowledgement to the history.
fn add_message(
    history: &mut Vec<Observation>,
    log: &mut Vec<EventRecord>,
    conversation: u64,
    seq: u64,
    run: u64,
    message: &str,
) {
    history.push(Observation::Send {
        run,
        conversation,
        message: message.into(),
        digest: Digest::of(message.as_bytes()),
    });
    let event = event(conversation, seq, run, Some(message));
    history.push(Observation::Acked {
        run,
        message: message.into(),
        event: event.event.clone(),
        position: event.position,
    });
    log.push(event);
}

/// Checks a history. The time of each observation is its index in `history`.
fn report_of(history: Vec<Observation>) -> super::Report {
    let records = (0..).zip(history).map(|(at, observation)| Record { at, observation });
    check(&History::new(records.collect()))
}

/// Removes the events for which `keep` returns `false` from the final logs of all sources or of
/// `source`. `keep` may also modify the events.
fn retain_logged(history: &mut Vec<Observation>, source: Option<&str>, mut keep: impl FnMut(&mut EventRecord) -> bool) {
    history.retain_mut(|observation| match observation {
        Observation::Logged {
            source: name, event, ..
        } if source.is_none_or(|source| name == source) => keep(event),
        _ => true,
    });
}

/// Removes the deliveries to a run for which `keep` returns `false`. `keep` may also modify the
/// events.
fn retain_delivered(history: &mut Vec<Observation>, run: u64, mut keep: impl FnMut(&mut EventRecord) -> bool) {
    history.retain_mut(|observation| match observation {
        Observation::Delivered { run: of, event, .. } if *of == run => keep(event),
        _ => true,
    });
}

/// Returns the index and a copy of the first observation that satisfies `is`.
fn find(history: &[Observation], is: impl Fn(&Observation) -> bool) -> (usize, Observation) {
    let at = history.iter().position(is).expect("the observation is in the history");
    (at, history[at].clone())
}

fn is_acked(observation: &Observation, wanted: &str) -> bool {
    matches!(observation, Observation::Acked { message, .. } if message == wanted)
}

/// Returns whether `observation` is the delivery of the group's event `seq` to the run `wanted`.
fn is_delivered(observation: &Observation, wanted: u64, seq: u64) -> bool {
    matches!(observation, Observation::Delivered { run, event, .. } if *run == wanted && event.position == position(GROUP, seq))
}

#[test]
fn history_without_violations_is_clean() {
    let report = report_of(history());
    assert!(report.is_clean(), "{:?}", report.violations());
    assert_eq!((report.acks, report.events, report.deliveries), (6, 9, 24));
}
