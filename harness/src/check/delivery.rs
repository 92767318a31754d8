//! Deliveries to devices: rules C6, C7 and C8, C12 as far as it concerns receivers, and C5 for
//! resets and rewinds. A stay is a range of positions that a user may read because of a membership;
//! see [`Memberships`].

use std::collections::BTreeMap;

use super::facts::{Delivery, Facts, Run};
use super::membership::Memberships;
use super::report::{Report, Rule};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let memberships = Memberships::of(facts);
    for (number, run) in &facts.runs {
        let mut positions = run.cursors.clone();
        let (mut epoch, mut was_reset) = (None, false);
        let is_membership_known = memberships.are_known_for(run.user);
        report.runs_with_memberships += usize::from(is_membership_known);
        for delivery in &run.deliveries {
            let (conversation, first, last) = match delivery {
                Delivery::Reset => {
                    (positions, was_reset) = (BTreeMap::new(), true);
                    // If a source still returns logs of the store epoch of the last delivered
                    // event, the reset was wrong.
                    if let Some(epoch) = epoch
                        && facts.epochs.values().any(|logged| *logged == epoch)
                    {
                        report.add_violation(
                            Rule::C5,
                            format_args!("run {number} received a reset, but a source still returns events of its store epoch {epoch}"),
                        );
                    }
                    continue;
                }
                Delivery::Rewound { to } => {
                    positions.insert(to.conversation, to.seq);
                    report.add_violation(
                        Rule::C5,
                        format_args!("run {number} received a rewind, as after a restore of the store: its events after {to} are void"),
                    );
                    continue;
                }
                Delivery::Event {
                    epoch: event_epoch,
                    event,
                } => {
                    epoch = Some(*event_epoch);
                    (event.position.conversation, event.position.seq, event.position.seq)
                }
                Delivery::Skipped { from, to } => (from.conversation, from.seq, *to),
            };
            let stay = memberships.last(conversation, run.user);
            // If no stay contains the position, this delivery counts as the start of one here. The
            // check for C12 below reports events that the user may not read.
            let stay_start = memberships.start_of_stay(conversation, run.user, first);
            // After a reset, delivery begins after the cursor that the server has for the device.
            let stay_start = stay_start.filter(|_| !was_reset).unwrap_or(first);
            let position = positions.entry(conversation).or_insert(stay_start.saturating_sub(1));
            if first <= *position {
                report.add_violation(
                    Rule::C6,
                    format_args!(
                        "run {number} received position {first} of conversation {conversation} again, after position {position}"
                    ),
                );
            } else if first > *position + 1 {
                report.add_violation(
                    Rule::C7,
                    format_args!("run {number} received position {first} of conversation {conversation} directly after position {position}"),
                );
            }
            *position = (*position).max(last);
            if !is_membership_known {
                continue;
            }
            match delivery {
                Delivery::Event { .. } if memberships.start_of_stay(conversation, run.user, first).is_none() => report
                    .add_violation(
                        Rule::C12,
                        format_args!(
                            "run {number} received position {first} of conversation {conversation}, which user {} may not read",
                            run.user
                        ),
                    ),
                Delivery::Skipped { .. } if stay.is_some_and(|(stay_start, _)| last >= stay_start) => report.add_violation(
                    Rule::C7,
                    format_args!("run {number} received the notice that positions {first} to {last} of conversation {conversation} are skipped, but its user may read some of them"),
                ),
                _ => {}
            }
        }
        if run.finished && is_membership_known {
            report.finished_runs += 1;
            check_completeness(facts, &memberships, *number, run, &positions, report);
        }
    }
}

/// Checks rule C8: reports the conversations of which a finished run did not receive the last
/// position that its user may read.
fn check_completeness(
    facts: &Facts<'_>,
    memberships: &Memberships,
    number: u64,
    run: &Run<'_>,
    positions: &BTreeMap<u64, u64>,
    report: &mut Report,
) {
    for (conversation, (first, until)) in memberships.of_user(run.user) {
        let last = until.unwrap_or(u64::MAX).min(facts.last(conversation));
        let received = positions.get(&conversation).copied().unwrap_or(0);
        if first <= last && received < last {
            report.add_violation(
                Rule::C8,
                format_args!("run {number} received conversation {conversation} up to position {received}, but its last readable position is {last}"),
            );
        }
    }
}
