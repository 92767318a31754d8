//! Tests that a history without violations passes the check, and that each change that breaks a
//! rule is reported.

#![allow(clippy::unwrap_used)] // these are tests

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

/// Returns a history without violations: users 1 and 2 are in a group, which user 3 leaves, and
/// have a direct conversation. Each run has the number of its user.
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

fn report_of(history: Vec<Observation>) -> super::Report {
    let records = (0..).zip(history).map(|(at, observation)| Record { at, observation });
    check(&History::new(records.collect()))
}

#[test]
fn history_without_violations_is_clean() {
    let report = report_of(history());
    assert!(report.is_clean(), "{:?}", report.violations());
    assert_eq!((report.acks, report.events, report.deliveries), (6, 9, 24));
}

/// Keeps the events of the final logs for which `change` returns `true`, in all sources or in
/// `source`. `change` may also modify the events.
fn retain_logged(
    history: &mut Vec<Observation>,
    source: Option<&str>,
    mut change: impl FnMut(&mut EventRecord) -> bool,
) {
    history.retain_mut(|observation| match observation {
        Observation::Logged {
            source: name, event, ..
        } if source.is_none_or(|source| name == source) => change(event),
        _ => true,
    });
}

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

fn is_delivered(observation: &Observation, wanted: u64, seq: u64) -> bool {
    matches!(observation, Observation::Delivered { run, event, .. } if *run == wanted && event.position == position(GROUP, seq))
}

#[test]
fn every_violation_is_reported() {
    type Mutation = (&'static str, Rule, fn(&mut Vec<Observation>));
    let mutations: [Mutation; 20] = [
        ("a message is acknowledged, but not stored", Rule::C1, |history| {
            retain_logged(history, None, |event| event.message.as_deref() != Some("m4"));
        }),
        ("one node lacks an acknowledged message", Rule::C1, |history| {
            retain_logged(history, Some("node"), |event| event.message.as_deref() != Some("d2"));
        }),
        ("the text was cut", Rule::C1, |history| {
            retain_logged(history, None, |event| {
                if event.message.as_deref() == Some("m1") {
                    event.digest = Some(Digest::of(b"m"));
                }
                true
            });
        }),
        ("a message that no user sent", Rule::C2, |history| {
            retain_logged(history, None, |event| {
                if event.position == position(GROUP, 6) {
                    event.message = Some("phantom".into());
                }
                true
            });
        }),
        ("a message is stored for another sender", Rule::C2, |history| {
            retain_logged(history, None, |event| {
                if event.message.as_deref() == Some("m2") {
                    event.sender = 1;
                }
                true
            });
        }),
        ("a retry is stored again", Rule::C3, |history| {
            retain_logged(history, None, |event| {
                if event.position == position(GROUP, 6) {
                    event.message = Some("m1".into());
                }
                true
            });
        }),
        ("a refused message is stored", Rule::C3, |history| {
            history.push(Observation::Refused {
                run: 1,
                message: "m3".into(),
                reason: "try again".into(),
            });
        }),
        ("a position is left out", Rule::C4, |history| {
            retain_logged(history, None, |event| {
                if event.position == position(DIRECT, 2) {
                    event.position.seq = 3;
                }
                true
            });
        }),
        ("two nodes assign one position twice", Rule::C5, |history| {
            retain_logged(history, Some("node"), |event| {
                if event.position == position(GROUP, 6) {
                    event.event = "another".into();
                }
                true
            });
        }),
        ("a device received an event that is gone", Rule::C5, |history| {
            retain_delivered(history, 2, |event| {
                if event.position == position(GROUP, 6) {
                    event.event = "gone".into();
                }
                true
            });
        }),
        ("a device receives another text", Rule::C5, |history| {
            retain_delivered(history, 2, |event| {
                if event.position == position(GROUP, 4) {
                    event.digest = Some(Digest::of(b"never said"));
                }
                true
            });
        }),
        ("a message is stored with another text", Rule::C2, |history| {
            retain_logged(history, None, |event| {
                if event.position == position(GROUP, 6) {
                    event.digest = Some(Digest::of(b"m4"));
                }
                true
            });
        }),
        ("a delivery is repeated", Rule::C6, |history| {
            let (at, again) = find(history, |observation| is_delivered(observation, 1, 4));
            history.insert(at + 1, again);
        }),
        ("a cursor skips after a short read", Rule::C7, |history| {
            retain_delivered(history, 1, |event| event.position != position(GROUP, 4));
        }),
        ("the last event is not delivered", Rule::C8, |history| {
            retain_delivered(history, 2, |event| event.position != position(GROUP, 7));
        }),
        ("a retry is stored out of order", Rule::C9, |history| {
            for (from, to) in [("m1", "held"), ("m3", "m1"), ("held", "m3")] {
                for observation in &mut *history {
                    match observation {
                        Observation::Send { message, .. } if message == from => *message = to.into(),
                        _ => {}
                    }
                }
            }
        }),
        (
            "a later message is stored before an acknowledged one",
            Rule::C10,
            |history| {
                let (at, send) = find(
                    history,
                    |observation| matches!(observation, Observation::Send { message, .. } if message == "m1"),
                );
                history.remove(at);
                let (after, _) = find(history, |observation| is_acked(observation, "m2"));
                history.insert(after + 1, send);
            },
        ),
        ("the second acknowledgement of a retry differs", Rule::C11, |history| {
            let (at, mut again) = find(history, |observation| is_acked(observation, "m1"));
            if let Observation::Acked { position, .. } = &mut again {
                position.seq = 5;
            }
            history.insert(at + 1, again);
        }),
        ("a removed member receives an event", Rule::C12, |history| {
            let (at, mut last) = find(history, |observation| is_delivered(observation, 2, 7));
            if let Observation::Delivered { run, .. } = &mut last {
                *run = 3;
            }
            history.insert(at + 1, last);
        }),
        ("a replaced session is acknowledged a message", Rule::C13, |history| {
            let (at, _) = find(
                history,
                |observation| matches!(observation, Observation::Send { message, .. } if message == "m4"),
            );
            let device = "device-2".to_owned();
            history.insert(
                at,
                Observation::LoggedIn {
                    run: 9,
                    server: "b".into(),
                },
            );
            history.insert(
                at,
                Observation::Run {
                    run: 9,
                    user: 2,
                    device,
                    cursors: Vec::new(),
                },
            );
        }),
    ];
    for (name, rule, mutate) in mutations {
        let mut history = history();
        mutate(&mut history);
        let report = report_of(history);
        assert!(report.count(rule) > 0, "{name}: {:?}", report.violations());
    }
    let mut back_in_time = history();
    retain_logged(&mut back_in_time, None, |event| {
        if event.position == position(GROUP, 5) {
            event.time = 1;
        }
        true
    });
    assert!(report_of(back_in_time).count(Rule::C15) > 0);
    let mut stranger = history();
    retain_logged(&mut stranger, None, |event| {
        event.joined.retain(|user| *user != 2);
        true
    });
    assert!(report_of(stranger).count(Rule::C12) > 0, "a sender who is not a member");
}

/// Returns the history of [`history`], except that user 3 joins again at position 8.
fn history_with_return() -> Vec<Observation> {
    let mut history = history();
    // The group does not show its history to new members.
    retain_delivered(&mut history, 3, |event| event.position != position(GROUP, 1));
    let rejoined = EventRecord {
        joined: vec![3],
        ..event(GROUP, 8, 3, None)
    };
    history.retain(|observation| {
        let is_end = matches!(observation, Observation::Head { last, .. } if last.conversation == GROUP);
        !is_end
            && !matches!(
                observation,
                Observation::Member { user: 3, .. } | Observation::Finished { .. }
            )
    });
    history.push(Observation::Skipped {
        run: 3,
        from: position(GROUP, 7),
        to: 7,
    });
    for run in [1, 2, 3] {
        history.push(Observation::Delivered {
            run,
            epoch: "e".into(),
            event: rejoined.clone(),
        });
        history.push(Observation::Finished { run });
    }
    for source in ["node", "database"] {
        history.push(Observation::Logged {
            source: source.into(),
            epoch: "e".into(),
            event: rejoined.clone(),
        });
        history.push(Observation::Head {
            source: source.into(),
            last: position(GROUP, 8),
            asked: u64::MAX,
        });
    }
    history.push(Observation::Member {
        user: 3,
        first: position(GROUP, 8),
        until: None,
    });
    history
}

#[test]
fn member_who_left_and_returned_reads_both_stays_only() {
    let report = report_of(history_with_return());
    assert!(report.is_clean(), "{:?}", report.violations());

    let mut event_between_stays = history_with_return();
    let (_, mut seventh) = find(&event_between_stays, |observation| is_delivered(observation, 2, 7));
    if let Observation::Delivered { run, .. } = &mut seventh {
        *run = 3;
    }
    let (at, _) = find(&event_between_stays, |observation| {
        matches!(observation, Observation::Skipped { .. })
    });
    event_between_stays[at] = seventh;
    let report = report_of(event_between_stays);
    assert_eq!(
        (report.count(Rule::C12), report.misrouted()),
        (1, 1),
        "{:?}",
        report.violations()
    );

    let mut skipped_event = history_with_return();
    let (at, _) = find(&skipped_event, |observation| is_delivered(observation, 3, 8));
    skipped_event[at] = Observation::Skipped {
        run: 3,
        from: position(GROUP, 8),
        to: 8,
    };
    assert_eq!(report_of(skipped_event).count(Rule::C7), 1);

    let mut missing_event = history_with_return();
    retain_delivered(&mut missing_event, 3, |event| event.position != position(GROUP, 4));
    assert!(report_of(missing_event).count(Rule::C7) > 0);
}

#[test]
fn source_with_missing_events_is_reported() {
    let is_of = |observation: &Observation, of: &str, conversation: u64| match observation {
        Observation::Logged { source, event, .. } => source == of && event.position.conversation == conversation,
        _ => false,
    };
    // The source returns no events, and a head that agrees with it or not.
    for claimed in [0, 7] {
        let mut empty = history();
        empty.retain(|observation| !is_of(observation, "node", GROUP));
        for observation in &mut empty {
            if let Observation::Head { source, last, .. } = observation
                && source == "node"
                && last.conversation == GROUP
            {
                last.seq = claimed;
            }
        }
        let report = report_of(empty);
        assert_eq!(report.count(Rule::C1), 4, "{:?}", report.violations());
        assert_eq!(report.count(Rule::C4), 1, "{:?}", report.violations());
    }
    // The log of the source lacks only a message that was never acknowledged.
    let (mut short, mut complete) = (history(), history());
    for history in [&mut short, &mut complete] {
        history.retain(|observation| !is_acked(observation, "d2"));
        history.retain(|observation| !matches!(observation, Observation::Delivered { event, .. } if event.position == position(DIRECT, 2)));
        history.retain(|observation| !matches!(observation, Observation::Finished { .. }));
    }
    assert!(report_of(complete).is_clean());
    for asked_first in [true, false] {
        let mut short = short.clone();
        retain_logged(&mut short, Some("database"), |event| {
            event.position != position(DIRECT, 2)
        });
        for observation in &mut short {
            if let Observation::Head { source, last, asked } = observation
                && source == "database"
                && last.conversation == DIRECT
            {
                last.seq = 1;
                // A source that was asked before the position was known may lack it.
                *asked = if asked_first { 0 } else { u64::MAX };
            }
        }
        let report = report_of(short);
        assert_eq!(
            report.count(Rule::C4),
            u64::from(!asked_first),
            "{:?}",
            report.violations()
        );
    }
}

#[test]
fn rules_without_records_are_not_checked() {
    let mut clients_only = history();
    clients_only.retain(|observation| {
        !matches!(
            observation,
            Observation::Logged { .. } | Observation::Head { .. } | Observation::Member { .. }
        )
    });
    let report = report_of(clients_only);
    assert!(report.is_clean(), "{:?}", report.violations());
    let checked: Vec<Rule> = Rule::ALL
        .map(|(rule, _)| rule)
        .into_iter()
        .filter(|rule| report.could_check(*rule))
        .collect();
    use Rule::{C5, C6, C7, C9, C10, C11, C13};
    assert_eq!(checked, [C5, C6, C7, C9, C10, C11, C13]);
}

#[test]
fn only_users_with_known_memberships_are_checked() {
    // Only the memberships of one user are known, so deliveries to other users are not violations.
    let mut one_known = history();
    one_known.retain(|observation| !matches!(observation, Observation::Member { user, .. } if *user != 1));
    let report = report_of(one_known);
    assert!(report.is_clean(), "{:?}", report.violations());
    assert_eq!((report.endings, report.could_check(Rule::C12)), (1, true));

    // No run was followed to its end, or only runs of users with unknown memberships.
    let mut without_endings = history();
    without_endings.retain(|observation| !matches!(observation, Observation::Finished { .. }));
    let mut without_memberships = history();
    without_memberships.retain(|observation| {
        !matches!(
            observation,
            Observation::Finished { run: 1 } | Observation::Member { user: 2 | 3, .. }
        )
    });
    for history in [without_endings, without_memberships] {
        let report = report_of(history);
        assert_eq!((report.endings, report.unchecked()), (0, vec![Rule::C8]));
        assert!(report.to_string().contains("C8    not checked"), "{report}");
    }
}

#[test]
fn cluster_that_refuses_everything_proves_nothing() {
    let mut refused = history();
    refused.retain(|observation| {
        !matches!(
            observation,
            Observation::Delivered { .. } | Observation::Logged { .. } | Observation::Head { .. }
        )
    });
    for observation in &mut refused {
        if let Observation::Acked { run, message, .. } = observation {
            *observation = Observation::Refused {
                run: *run,
                message: message.clone(),
                reason: "no".into(),
            };
        }
    }
    let report = report_of(refused);
    assert!(report.is_clean(), "{:?}", report.violations());
    assert_eq!(report.unchecked().len(), Rule::ALL.len(), "{:?}", report.unchecked());
    assert_eq!((report.sends, report.acked, report.acked_share()), (6, 0, 0.0));
    let whole = report_of(history());
    assert_eq!((whole.unchecked(), whole.acked_share()), (Vec::new(), 1.0));
    assert_eq!((whole.sends, whole.refused), (6, 1));
}

#[test]
fn reset_of_a_live_epoch_is_a_violation() {
    // Inserts a notice after a delivery to run 2, and repeats all earlier deliveries after it.
    let redeliver_after = |history: &mut Vec<Observation>, notice: Observation| {
        let (at, _) = find(history, |observation| is_delivered(observation, 2, 7));
        let deliveries: Vec<Observation> = history[..=at]
            .iter()
            .filter(|observation| matches!(observation, Observation::Delivered { run: 2, .. }))
            .cloned()
            .collect();
        history.splice(at + 1..=at, [notice].into_iter().chain(deliveries));
    };
    let mut reset = history();
    redeliver_after(&mut reset, Observation::Reset { run: 2 });
    let report = report_of(reset.clone());
    assert_eq!(
        (report.count(Rule::C5), report.count(Rule::C6)),
        (1, 0),
        "{:?}",
        report.violations()
    );
    for observation in &mut reset {
        if let Observation::Logged { epoch, .. } = observation {
            *epoch = "another".into();
        }
    }
    let report = report_of(reset);
    assert!(report.is_clean(), "{:?}", report.violations());

    let mut rewound = history();
    let to = position(GROUP, 3);
    redeliver_after(&mut rewound, Observation::Rewound { run: 2, to });
    assert_eq!(report_of(rewound).count(Rule::C5), 1);
}
