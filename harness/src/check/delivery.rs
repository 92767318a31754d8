//! C6, C7, C8, and C12 for receivers: deliveries to devices.

use std::collections::BTreeMap;

use super::facts::{Delivery, Facts, Run};
use super::membership::Memberships;
use super::report::{Report, Rule};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let stays = Memberships::of(facts);
    for (number, run) in &facts.runs {
        let mut at = run.cursors.clone();
        let (mut epoch, mut was_reset) = (None, false);
        let is_membership_known = stays.are_known_for(run.user);
        report.readers += usize::from(is_membership_known);
        for delivery in &run.deliveries {
            let (conversation, first, last) = match delivery {
                Delivery::Reset => {
                    (at, was_reset) = (BTreeMap::new(), true);
                    // A source that still returns this epoch has not lost it.
                    if epoch.is_some_and(|epoch| facts.epochs.values().any(|logged| *logged == epoch)) {
                        report.add_violation(
                            Rule::C5,
                            format_args!("run {number} was told that the store of epoch {epoch:?} is gone, but a source still has it"),
                        );
                    }
                    continue;
                }
                Delivery::Rewound { to } => {
                    at.insert(to.conversation, to.seq);
                    report.add_violation(
                        Rule::C5,
                        format_args!("run {number} was told that its events after {to:?} are void"),
                    );
                    continue;
                }
                Delivery::Event { epoch: of, event } => {
                    epoch = Some(*of);
                    (event.position.conversation, event.position.seq, event.position.seq)
                }
                Delivery::Skipped { from, to } => (from.conversation, from.seq, *to),
            };
            let stay = stays.last(conversation, run.user);
            // Without a known membership, the first delivered position begins the stay; a delivery
            // to a user who may not read it is reported below.
            let begins = stays.begins(conversation, run.user, first);
            // After a reset, delivery begins after the cursor that the server has for the device.
            let begins = begins.filter(|_| !was_reset).unwrap_or(first);
            let position = at.entry(conversation).or_insert(begins.saturating_sub(1));
            if first <= *position {
                report.add_violation(
                    Rule::C6,
                    format_args!(
                        "run {number} received position {first} of conversation {conversation} again, after {position}"
                    ),
                );
            } else if first > *position + 1 {
                report.add_violation(
                    Rule::C7,
                    format_args!("run {number} received position {first} of conversation {conversation} directly after {position}"),
                );
            }
            *position = (*position).max(last);
            if !is_membership_known {
                continue;
            }
            match delivery {
                Delivery::Event { .. } if stays.begins(conversation, run.user, first).is_none() => report
                    .add_violation(
                        Rule::C12,
                        format_args!(
                            "run {number} received position {first} of conversation {conversation}, which user {} may not read",
                            run.user
                        ),
                    ),
                Delivery::Skipped { .. } if stay.is_some_and(|(begins, _)| last >= begins) => report.add_violation(
                    Rule::C7,
                    format_args!("run {number} was told that positions {first} to {last} of conversation {conversation} will not be delivered"),
                ),
                _ => {}
            }
        }
        if run.finished && is_membership_known {
            report.endings += 1;
            check_completeness(facts, &stays, *number, run, &at, report);
        }
    }
}

/// Checks rule C8: reports positions that a finished run did not receive.
fn check_completeness(
    facts: &Facts<'_>,
    stays: &Memberships,
    number: u64,
    run: &Run<'_>,
    at: &BTreeMap<u64, u64>,
    report: &mut Report,
) {
    for (conversation, (first, until)) in stays.of_user(run.user) {
        let last = until.unwrap_or(u64::MAX).min(facts.last(conversation));
        let got = at.get(&conversation).copied().unwrap_or(0);
        if first <= last && got < last {
            report.add_violation(
                Rule::C8,
                format_args!("run {number} received conversation {conversation} up to {got}, but it ends at {last}"),
            );
        }
    }
}
