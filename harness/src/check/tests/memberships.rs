//! Tests of users who leave a group and return, and of unknown memberships.

use super::*;

/// Returns the history of [`history`], except that user 3 joins again at position 8, and that the
/// group does not show its history to new members.
fn history_with_return() -> Vec<Observation> {
    let mut history = history();
    // User 3 joins the group at position 2.
    retain_delivered(&mut history, 3, |event| event.position != position(GROUP, 1));
    let rejoined = EventRecord {
        joined: vec![3],
        ..event(GROUP, 8, 3, None)
    };
    history.retain(|observation| {
        let is_head = matches!(observation, Observation::Head { last, .. } if last.conversation == GROUP);
        !is_head
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
fn only_users_with_known_memberships_are_checked() {
    // Only the memberships of one user are known. Deliveries to other users must not count as
    // violations of C12.
    let mut one_known = history();
    one_known.retain(|observation| !matches!(observation, Observation::Member { user, .. } if *user != 1));
    let report = report_of(one_known);
    assert!(report.is_clean(), "{:?}", report.violations());
    assert_eq!((report.finished_runs, report.could_check(Rule::C12)), (1, true));

    // No run has finished, or only runs of users with unknown memberships have.
    let mut without_finished = history();
    without_finished.retain(|observation| !matches!(observation, Observation::Finished { .. }));
    let mut without_memberships = history();
    without_memberships.retain(|observation| {
        !matches!(
            observation,
            Observation::Finished { run: 1 } | Observation::Member { user: 2 | 3, .. }
        )
    });
    for history in [without_finished, without_memberships] {
        let report = report_of(history);
        assert_eq!((report.finished_runs, report.unchecked()), (0, vec![Rule::C8]));
        assert!(report.to_string().contains("C8    not checked"), "{report}");
    }
}
