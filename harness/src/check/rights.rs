//! Rights to send: rule C12 as far as it concerns senders, and rule C13.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::facts::Facts;
use super::report::{Report, Rule};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    check_senders(facts, report);
    check_replaced_sessions(facts, report);
}

fn check_senders(facts: &Facts<'_>, report: &mut Report) {
    let Some(logs) = facts.most_complete_logs() else { return };
    for log in logs.values() {
        let mut members: BTreeSet<u64> = BTreeSet::new();
        // Direct conversations have no joins and leaves.
        let is_group = log.values().flatten().any(|event| !event.joined.is_empty());
        for event in log.values().flatten() {
            members.extend(&event.joined);
            if is_group && event.message.is_some() && !members.contains(&event.sender) {
                report.add_violation(
                    Rule::C12,
                    format_args!(
                        "the message at {} was sent by user {}, who was not a member at that position",
                        event.position, event.sender
                    ),
                );
            }
            for user in &event.left {
                members.remove(user);
            }
        }
    }
}

/// Reports acknowledgements to a run whose session had been replaced: the latest login of the
/// device before the message was sent was that of another run, and the sending run did not log
/// in again before the acknowledgement.
fn check_replaced_sessions(facts: &Facts<'_>, report: &mut Report) {
    let mut logins: BTreeMap<(u64, &str), Vec<(u64, u64)>> = BTreeMap::new();
    for (number, run) in &facts.runs {
        let device_logins = logins.entry((run.user, run.device)).or_default();
        device_logins.extend(run.logins.iter().map(|at| (*at, *number)));
    }
    logins
        .values_mut()
        .for_each(|device_logins| device_logins.sort_unstable());
    let sent: HashMap<&str, u64> = facts.sends.iter().map(|sent| (sent.message, sent.at)).collect();
    for ack in &facts.acks {
        let (Some(run), Some(sent)) = (facts.runs.get(&ack.run), sent.get(ack.message)) else {
            continue;
        };
        let device_logins = &logins[&(run.user, run.device)];
        // The last login before the message was sent determines whose session the device had then.
        // If the sending run logged in again before the acknowledgement, its new session may have
        // received the acknowledgement, which is no violation.
        let last_login = device_logins.iter().take_while(|(at, _)| at < sent).last();
        let has_logged_in_again = device_logins
            .iter()
            .any(|(at, number)| *number == ack.run && at > sent && *at < ack.at);
        if last_login.is_some_and(|(_, number)| *number != ack.run) && !has_logged_in_again {
            report.add_violation(
                Rule::C13,
                format_args!(
                    "message {} was acknowledged to run {}, whose session had been replaced",
                    ack.message, ack.run
                ),
            );
        }
    }
}
