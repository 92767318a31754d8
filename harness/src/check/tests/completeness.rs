//! Tests that an incomplete history is reported and not taken for a clean one.

use super::*;

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
