//! Tests of incomplete histories: events that a source lacks are violations, and rules without
//! records count as not checked.

use super::*;

#[test]
fn source_with_missing_events_is_reported() {
    let is_logged_by = |observation: &Observation, of: &str, conversation: u64| match observation {
        Observation::Logged { source, event, .. } => source == of && event.position.conversation == conversation,
        _ => false,
    };
    // The node returns no events of the group, and its head claims that there are none, or seven.
    for claimed in [0, 7] {
        let mut empty = history();
        empty.retain(|observation| !is_logged_by(observation, "node", GROUP));
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
    // The log of the database lacks only a message that was neither acknowledged nor delivered.
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
