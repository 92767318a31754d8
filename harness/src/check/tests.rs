//! A clean history has no violation; each way to spoil it breaks the rule that forbids it.

#![allow(clippy::unwrap_used)] // these are tests

use super::{Rule, check};
use crate::history::{Digest, EventRecord, History, LogPosition, Observation, Record};

const ROOM: u64 = 7;
const DUO: u64 = 8;

fn place(conversation: u64, seq: u64) -> LogPosition {
    LogPosition { conversation, seq }
}

fn event(conversation: u64, seq: u64, sender: u64, message: Option<&str>) -> EventRecord {
    EventRecord {
        place: place(conversation, seq),
        event: format!("event-{conversation}-{seq}"),
        sender,
        time: 1000 + i64::try_from(seq).unwrap(),
        message: message.map(str::to_owned),
        digest: message.map(|text| Digest::of(text.as_bytes())),
        joined: Vec::new(),
        left: Vec::new(),
    }
}

/// Users 1 and 2 in a room, which user 3 leaves, and in a conversation of their own. Runs have
/// their users' numbers.
fn story() -> Vec<Observation> {
    let mut story = Vec::new();
    for run in [1, 2, 3] {
        let device = format!("device-{run}");
        story.push(Observation::Run {
            run,
            user: run,
            device,
            cursors: Vec::new(),
        });
        story.push(Observation::LoggedIn {
            run,
            server: "a".into(),
        });
    }
    let mut log = vec![EventRecord {
        joined: vec![1],
        ..event(ROOM, 1, 1, None)
    }];
    log.push(EventRecord {
        joined: vec![2, 3],
        ..event(ROOM, 2, 1, None)
    });
    for (seq, run, message) in [(3, 1, "m1"), (4, 2, "m2"), (5, 1, "m3")] {
        say(&mut story, &mut log, ROOM, seq, run, message);
    }
    log.push(EventRecord {
        left: vec![3],
        ..event(ROOM, 6, 3, None)
    });
    say(&mut story, &mut log, ROOM, 7, 2, "m4");
    say(&mut story, &mut log, DUO, 1, 1, "d1");
    say(&mut story, &mut log, DUO, 2, 1, "d2");
    story.push(Observation::Refused {
        run: 3,
        message: "late".into(),
        reason: "not a member".into(),
    });
    for event in &log {
        for run in [1, 2, 3] {
            let readable = run < 3 || (event.place.conversation == ROOM && event.place.seq <= 6);
            if readable {
                story.push(Observation::Delivered {
                    run,
                    epoch: "e".into(),
                    event: event.clone(),
                });
            }
        }
    }
    story.extend([1, 2, 3].map(|run| Observation::Finished { run }));
    for source in ["node", "database"] {
        let logged = |event: &EventRecord| Observation::Logged {
            source: source.into(),
            epoch: "e".into(),
            event: event.clone(),
        };
        story.extend(log.iter().map(logged));
        story.extend([(ROOM, 7), (DUO, 2)].map(|(id, seq)| Observation::Head {
            source: source.into(),
            last: place(id, seq),
            asked: u64::MAX,
        }));
    }
    for (user, conversation, until) in [
        (1, ROOM, None),
        (2, ROOM, None),
        (3, ROOM, Some(6)),
        (1, DUO, None),
        (2, DUO, None),
    ] {
        story.push(Observation::Member {
            user,
            first: place(conversation, 1),
            until,
        });
    }
    story
}

fn say(story: &mut Vec<Observation>, log: &mut Vec<EventRecord>, conversation: u64, seq: u64, run: u64, message: &str) {
    story.push(Observation::Send {
        run,
        conversation,
        message: message.into(),
        digest: Digest::of(message.as_bytes()),
    });
    let event = event(conversation, seq, run, Some(message));
    story.push(Observation::Acked {
        run,
        message: message.into(),
        event: event.event.clone(),
        place: event.place,
    });
    log.push(event);
}

fn judged(story: Vec<Observation>) -> super::Report {
    let records = (0..).zip(story).map(|(at, what)| Record { at, what });
    check(&History::new(records.collect()))
}

#[test]
fn history_without_violations_is_clean() {
    let report = judged(story());
    assert!(report.is_clean(), "{:?}", report.violations());
    assert_eq!((report.acks, report.events, report.deliveries), (6, 9, 24));
}

/// Keeps the events of the final logs for which `is` returns true and lets it change them, in all
/// sources or in one.
fn logged(story: &mut Vec<Observation>, source: Option<&str>, mut change: impl FnMut(&mut EventRecord) -> bool) {
    story.retain_mut(|what| match what {
        Observation::Logged { source: of, event, .. } if source.is_none_or(|source| of == source) => change(event),
        _ => true,
    });
}

fn delivered(story: &mut Vec<Observation>, run: u64, mut keep: impl FnMut(&mut EventRecord) -> bool) {
    story.retain_mut(|what| match what {
        Observation::Delivered { run: of, event, .. } if *of == run => keep(event),
        _ => true,
    });
}

fn copy_of(story: &[Observation], is: impl Fn(&Observation) -> bool) -> (usize, Observation) {
    let at = story.iter().position(is).expect("it is in the story");
    (at, story[at].clone())
}

fn is_acked(what: &Observation, wanted: &str) -> bool {
    matches!(what, Observation::Acked { message, .. } if message == wanted)
}

fn is_delivered(what: &Observation, wanted: u64, seq: u64) -> bool {
    matches!(what, Observation::Delivered { run, event, .. } if *run == wanted && event.place == place(ROOM, seq))
}

#[test]
fn every_violation_is_found() {
    type Bug = (&'static str, Rule, fn(&mut Vec<Observation>));
    let bugs: [Bug; 20] = [
        ("acknowledged before the commit, which then failed", Rule::C1, |story| {
            logged(story, None, |event| event.message.as_deref() != Some("m4"));
        }),
        ("one node does not have what was acknowledged", Rule::C1, |story| {
            logged(story, Some("node"), |event| event.message.as_deref() != Some("d2"));
        }),
        ("the text was cut", Rule::C1, |story| {
            logged(story, None, |event| {
                if event.message.as_deref() == Some("m1") {
                    event.digest = Some(Digest::of(b"m"));
                }
                true
            });
        }),
        ("a message of nobody's", Rule::C2, |story| {
            logged(story, None, |event| {
                if event.place == place(ROOM, 6) {
                    event.message = Some("phantom".into());
                }
                true
            });
        }),
        ("stored in another's name", Rule::C2, |story| {
            logged(story, None, |event| {
                if event.message.as_deref() == Some("m2") {
                    event.sender = 1;
                }
                true
            });
        }),
        ("a retry is stored again", Rule::C3, |story| {
            logged(story, None, |event| {
                if event.place == place(ROOM, 6) {
                    event.message = Some("m1".into());
                }
                true
            });
        }),
        ("refused, and stored all the same", Rule::C3, |story| {
            story.push(Observation::Refused {
                run: 1,
                message: "m3".into(),
                reason: "try again".into(),
            });
        }),
        ("a number is burnt", Rule::C4, |story| {
            logged(story, None, |event| {
                if event.place == place(DUO, 2) {
                    event.place.seq = 3;
                }
                true
            });
        }),
        ("two nodes give one number twice", Rule::C5, |story| {
            logged(story, Some("node"), |event| {
                if event.place == place(ROOM, 6) {
                    event.event = "another".into();
                }
                true
            });
        }),
        ("a device saw what is gone now", Rule::C5, |story| {
            delivered(story, 2, |event| {
                if event.place == place(ROOM, 6) {
                    event.event = "gone".into();
                }
                true
            });
        }),
        ("a device is shown another text", Rule::C5, |story| {
            delivered(story, 2, |event| {
                if event.place == place(ROOM, 4) {
                    event.digest = Some(Digest::of(b"never said"));
                }
                true
            });
        }),
        ("a message that nobody can repeat", Rule::C2, |story| {
            logged(story, None, |event| {
                if event.place == place(ROOM, 6) {
                    event.digest = Some(Digest::of(b"m4"));
                }
                true
            });
        }),
        ("a doorbell is answered twice", Rule::C6, |story| {
            let (at, again) = copy_of(story, |what| is_delivered(what, 1, 4));
            story.insert(at + 1, again);
        }),
        ("a cursor skips after a short read", Rule::C7, |story| {
            delivered(story, 1, |event| event.place != place(ROOM, 4));
        }),
        ("a last doorbell is lost and never looked for", Rule::C8, |story| {
            delivered(story, 2, |event| event.place != place(ROOM, 7));
        }),
        ("a retry overtakes", Rule::C9, |story| {
            for (from, to) in [("m1", "held"), ("m3", "m1"), ("held", "m3")] {
                for what in &mut *story {
                    match what {
                        Observation::Send { message, .. } if message == from => *message = to.into(),
                        _ => {}
                    }
                }
            }
        }),
        ("what was sent later comes earlier", Rule::C10, |story| {
            let (at, send) = copy_of(
                story,
                |what| matches!(what, Observation::Send { message, .. } if message == "m1"),
            );
            story.remove(at);
            let (after, _) = copy_of(story, |what| is_acked(what, "m2"));
            story.insert(after + 1, send);
        }),
        ("the second acknowledgement of a retry differs", Rule::C11, |story| {
            let (at, mut again) = copy_of(story, |what| is_acked(what, "m1"));
            if let Observation::Acked { place, .. } = &mut again {
                place.seq = 5;
            }
            story.insert(at + 1, again);
        }),
        ("who was removed is delivered to", Rule::C12, |story| {
            let (at, mut last) = copy_of(story, |what| is_delivered(what, 2, 7));
            if let Observation::Delivered { run, .. } = &mut last {
                *run = 3;
            }
            story.insert(at + 1, last);
        }),
        ("a session that was taken over from goes on", Rule::C13, |story| {
            let (at, _) = copy_of(
                story,
                |what| matches!(what, Observation::Send { message, .. } if message == "m4"),
            );
            let device = "device-2".to_owned();
            story.insert(
                at,
                Observation::LoggedIn {
                    run: 9,
                    server: "b".into(),
                },
            );
            story.insert(
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
    for (name, rule, plant) in bugs {
        let mut story = story();
        plant(&mut story);
        let report = judged(story);
        assert!(report.count(rule) > 0, "{name}: {:?}", report.violations());
    }
    let mut back_in_time = story();
    logged(&mut back_in_time, None, |event| {
        if event.place == place(ROOM, 5) {
            event.time = 1;
        }
        true
    });
    assert!(judged(back_in_time).count(Rule::C15) > 0);
    let mut stranger = story();
    logged(&mut stranger, None, |event| {
        event.joined.retain(|user| *user != 2);
        true
    });
    assert!(judged(stranger).count(Rule::C12) > 0, "a sender who is no member");
}

/// The same history, in which user 3 joins again at position 8.
fn returned() -> Vec<Observation> {
    let mut story = story();
    // The room does not show its history to new members.
    delivered(&mut story, 3, |event| event.place != place(ROOM, 1));
    let back = EventRecord {
        joined: vec![3],
        ..event(ROOM, 8, 3, None)
    };
    story.retain(|what| {
        let is_end = matches!(what, Observation::Head { last, .. } if last.conversation == ROOM);
        !is_end && !matches!(what, Observation::Member { user: 3, .. } | Observation::Finished { .. })
    });
    story.push(Observation::Skipped {
        run: 3,
        from: place(ROOM, 7),
        to: 7,
    });
    for run in [1, 2, 3] {
        story.push(Observation::Delivered {
            run,
            epoch: "e".into(),
            event: back.clone(),
        });
        story.push(Observation::Finished { run });
    }
    for source in ["node", "database"] {
        story.push(Observation::Logged {
            source: source.into(),
            epoch: "e".into(),
            event: back.clone(),
        });
        story.push(Observation::Head {
            source: source.into(),
            last: place(ROOM, 8),
            asked: u64::MAX,
        });
    }
    story.push(Observation::Member {
        user: 3,
        first: place(ROOM, 8),
        until: None,
    });
    story
}

#[test]
fn member_who_left_and_returned_reads_both_stays_only() {
    let report = judged(returned());
    assert!(report.is_clean(), "{:?}", report.violations());

    let mut told_on = returned();
    let (_, mut seventh) = copy_of(&told_on, |what| is_delivered(what, 2, 7));
    if let Observation::Delivered { run, .. } = &mut seventh {
        *run = 3;
    }
    let (at, _) = copy_of(&told_on, |what| matches!(what, Observation::Skipped { .. }));
    told_on[at] = seventh;
    let report = judged(told_on);
    assert_eq!(
        (report.count(Rule::C12), report.misrouted()),
        (1, 1),
        "{:?}",
        report.violations()
    );

    let mut kept_from = returned();
    let (at, _) = copy_of(&kept_from, |what| is_delivered(what, 3, 8));
    kept_from[at] = Observation::Skipped {
        run: 3,
        from: place(ROOM, 8),
        to: 8,
    };
    assert_eq!(judged(kept_from).count(Rule::C7), 1);

    let mut left_out = returned();
    delivered(&mut left_out, 3, |event| event.place != place(ROOM, 4));
    assert!(judged(left_out).count(Rule::C7) > 0);
}

#[test]
fn source_with_missing_events_is_found() {
    let is_of = |what: &Observation, of: &str, room: u64| match what {
        Observation::Logged { source, event, .. } => source == of && event.place.conversation == room,
        _ => false,
    };
    // The source returns no events, with or without a head that admits it.
    for said in [0, 7] {
        let mut empty = story();
        empty.retain(|what| !is_of(what, "node", ROOM));
        for what in &mut empty {
            if let Observation::Head { source, last, .. } = what
                && source == "node"
                && last.conversation == ROOM
            {
                last.seq = said;
            }
        }
        let report = judged(empty);
        assert_eq!(report.count(Rule::C1), 4, "{:?}", report.violations());
        assert_eq!(report.count(Rule::C4), 1, "{:?}", report.violations());
    }
    // The log of the source lacks only a message that was never acknowledged.
    let (mut short, mut honest) = (story(), story());
    for story in [&mut short, &mut honest] {
        story.retain(|what| !is_acked(what, "d2"));
        story.retain(|what| !matches!(what, Observation::Delivered { event, .. } if event.place == place(DUO, 2)));
        story.retain(|what| !matches!(what, Observation::Finished { .. }));
    }
    assert!(judged(honest).is_clean());
    for told_first in [true, false] {
        let mut short = short.clone();
        logged(&mut short, Some("database"), |event| event.place != place(DUO, 2));
        for what in &mut short {
            if let Observation::Head { source, last, asked } = what
                && source == "database"
                && last.conversation == DUO
            {
                last.seq = 1;
                // A source that was asked before the position was known need not have it.
                *asked = if told_first { 0 } else { u64::MAX };
            }
        }
        let report = judged(short);
        assert_eq!(
            report.count(Rule::C4),
            u64::from(!told_first),
            "{:?}",
            report.violations()
        );
    }
}

#[test]
fn rules_without_records_are_not_checked() {
    let mut clients_only = story();
    clients_only.retain(|what| {
        !matches!(
            what,
            Observation::Logged { .. } | Observation::Head { .. } | Observation::Member { .. }
        )
    });
    let report = judged(clients_only);
    assert!(report.is_clean(), "{:?}", report.violations());
    let judged: Vec<Rule> = Rule::ALL
        .map(|(rule, _)| rule)
        .into_iter()
        .filter(|rule| report.could_check(*rule))
        .collect();
    use Rule::{C5, C6, C7, C9, C10, C11, C13};
    assert_eq!(judged, [C5, C6, C7, C9, C10, C11, C13]);
}

#[test]
fn only_users_with_known_memberships_are_checked() {
    // Only the memberships of one user are known: deliveries to other users are no violations.
    let mut one_told = story();
    one_told.retain(|what| !matches!(what, Observation::Member { user, .. } if *user != 1));
    let report = judged(one_told);
    assert!(report.is_clean(), "{:?}", report.violations());
    assert_eq!((report.endings, report.could_check(Rule::C12)), (1, true));

    // No run was followed to its end, or only runs of users with unknown memberships.
    let mut cut_off = story();
    cut_off.retain(|what| !matches!(what, Observation::Finished { .. }));
    let mut unknown = story();
    unknown.retain(|what| {
        !matches!(
            what,
            Observation::Finished { run: 1 } | Observation::Member { user: 2 | 3, .. }
        )
    });
    for story in [cut_off, unknown] {
        let report = judged(story);
        assert_eq!((report.endings, report.unchecked()), (0, vec![Rule::C8]));
        assert!(report.to_string().contains("C8    not checked"), "{report}");
    }
}

#[test]
fn cluster_that_refuses_everything_proves_nothing() {
    let mut refused = story();
    refused.retain(|what| {
        !matches!(
            what,
            Observation::Delivered { .. } | Observation::Logged { .. } | Observation::Head { .. }
        )
    });
    for what in &mut refused {
        if let Observation::Acked { run, message, .. } = what {
            *what = Observation::Refused {
                run: *run,
                message: message.clone(),
                reason: "no".into(),
            };
        }
    }
    let report = judged(refused);
    assert!(report.is_clean(), "{:?}", report.violations());
    assert_eq!(report.unchecked().len(), Rule::ALL.len(), "{:?}", report.unchecked());
    assert_eq!((report.sends, report.acked, report.acked_share()), (6, 0, 0.0));
    let whole = judged(story());
    assert_eq!((whole.unchecked(), whole.acked_share()), (Vec::new(), 1.0));
    assert_eq!((whole.sends, whole.refused), (6, 1));
}

#[test]
fn reset_of_a_live_epoch_is_a_violation() {
    // The notice comes in the middle, followed by all deliveries again.
    let again = |story: &mut Vec<Observation>, told: Observation| {
        let (at, _) = copy_of(story, |what| is_delivered(what, 2, 7));
        let handed: Vec<Observation> = story[..=at]
            .iter()
            .filter(|what| matches!(what, Observation::Delivered { run: 2, .. }))
            .cloned()
            .collect();
        story.splice(at + 1..=at, [told].into_iter().chain(handed));
    };
    let mut void = story();
    again(&mut void, Observation::Reset { run: 2 });
    let report = judged(void.clone());
    assert_eq!(
        (report.count(Rule::C5), report.count(Rule::C6)),
        (1, 0),
        "{:?}",
        report.violations()
    );
    for what in &mut void {
        if let Observation::Logged { epoch, .. } = what {
            *epoch = "another".into();
        }
    }
    let report = judged(void);
    assert!(report.is_clean(), "{:?}", report.violations());

    let mut rewound = story();
    let to = place(ROOM, 3);
    again(&mut rewound, Observation::Rewound { run: 2, to });
    assert_eq!(judged(rewound).count(Rule::C5), 1);
}
