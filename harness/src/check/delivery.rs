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
        let is_told = stays.are_told_of(run.user);
        report.readers += usize::from(is_told);
        for handed in &run.handed {
            let (conversation, first, last) = match handed {
                Delivery::Reset => {
                    (at, was_reset) = (BTreeMap::new(), true);
                    // A source that still returns this epoch has not lost it.
                    if epoch.is_some_and(|epoch| facts.epochs.values().any(|told| *told == epoch)) {
                        report.add_violation(
                            Rule::C5,
                            format_args!("run {number} was told that history {epoch:?} is void, which goes on"),
                        );
                    }
                    continue;
                }
                Delivery::Rewound { to } => {
                    at.insert(to.conversation, to.seq);
                    report.add_violation(
                        Rule::C5,
                        format_args!("run {number} was told that what follows after {to:?} is another log"),
                    );
                    continue;
                }
                Delivery::Event { epoch: of, event } => {
                    epoch = Some(*of);
                    (event.place.conversation, event.place.seq, event.place.seq)
                }
                Delivery::Skipped { from, to } => (from.conversation, from.seq, *to),
            };
            let stay = stays.last(conversation, run.user);
            // Without a known membership, the first delivered position begins the stay; a delivery
            // to a user who may not read it is reported below.
            let begins = stays.begins(conversation, run.user, first);
            // After a reset, delivery begins after the cursor that the server has for the device.
            let begins = begins.filter(|_| !was_reset).unwrap_or(first);
            let place = at.entry(conversation).or_insert(begins.saturating_sub(1));
            if first <= *place {
                report.add_violation(
                    Rule::C6,
                    format_args!("run {number} was handed {first} of {conversation} again, after {place}"),
                );
            } else if first > *place + 1 {
                report.add_violation(
                    Rule::C7,
                    format_args!("run {number} was handed {first} of {conversation} after {place}"),
                );
            }
            *place = (*place).max(last);
            if !is_told {
                continue;
            }
            match handed {
                Delivery::Event { .. } if stays.begins(conversation, run.user, first).is_none() => report
                    .add_violation(
                        Rule::C12,
                        format_args!(
                            "run {number} was handed {first} of {conversation}, which user {} may not read",
                            run.user
                        ),
                    ),
                Delivery::Skipped { .. } if stay.is_some_and(|(begins, _)| last >= begins) => report.add_violation(
                    Rule::C7,
                    format_args!("run {number} was told that {first} to {last} of {conversation} will not come"),
                ),
                _ => {}
            }
        }
        if run.finished && is_told {
            report.endings += 1;
            everything(facts, &stays, *number, run, &at, report);
        }
    }
}

/// C8: reports positions that a run which finished did not receive.
fn everything(
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
                format_args!("run {number} has {got} of {conversation}, which ends at {last}"),
            );
        }
    }
}
