//! Tests that each change of a history that breaks a rule is reported.

use super::*;

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
        ("the stored text was cut", Rule::C1, |history| {
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
        ("two sources differ at one position", Rule::C5, |history| {
            retain_logged(history, Some("node"), |event| {
                if event.position == position(GROUP, 6) {
                    event.event = "another".into();
                }
                true
            });
        }),
        ("a device received an event that no log contains", Rule::C5, |history| {
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
        ("a message without an idempotency key is stored", Rule::C2, |history| {
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
        ("an event between others is not delivered", Rule::C7, |history| {
            retain_delivered(history, 1, |event| event.position != position(GROUP, 4));
        }),
        ("the last event is not delivered", Rule::C8, |history| {
            retain_delivered(history, 2, |event| event.position != position(GROUP, 7));
        }),
        ("messages of one run are stored out of order", Rule::C9, |history| {
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
        ("a second acknowledgement of a message differs", Rule::C11, |history| {
            let (at, mut again) = find(history, |observation| is_acked(observation, "m1"));
            if let Observation::Acked { position, .. } = &mut again {
                position.seq = 5;
            }
            history.insert(at + 1, again);
        }),
        ("a former member receives an event", Rule::C12, |history| {
            let (at, mut last) = find(history, |observation| is_delivered(observation, 2, 7));
            if let Observation::Delivered { run, .. } = &mut last {
                *run = 3;
            }
            history.insert(at + 1, last);
        }),
        ("a replaced session's message is acknowledged", Rule::C13, |history| {
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
    let mut sender_never_joined = history();
    retain_logged(&mut sender_never_joined, None, |event| {
        event.joined.retain(|user| *user != 2);
        true
    });
    assert!(
        report_of(sender_never_joined).count(Rule::C12) > 0,
        "a sender who is not a member"
    );
}

#[test]
fn rewind_and_reset_without_a_new_epoch_are_violations() {
    // Inserts a notice after a delivery to run 2, followed by a copy of all deliveries to run 2 up
    // to that delivery.
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
