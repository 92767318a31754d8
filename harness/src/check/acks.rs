//! C1, C2, C3, C11: acknowledgements and logs.

use std::collections::HashMap;

use super::facts::{Facts, Sent};
use super::report::{Report, Rule};
use crate::history::LogPosition;

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let sent: HashMap<&str, &Sent<'_>> = facts.sends.iter().map(|sent| (sent.message, sent)).collect();
    acknowledged_is_there(facts, &sent, report);
    there_was_sent_once(facts, &sent, report);
}

fn acknowledged_is_there(facts: &Facts<'_>, sent: &HashMap<&str, &Sent<'_>>, report: &mut Report) {
    let mut first: HashMap<&str, (LogPosition, &str)> = HashMap::new();
    for ack in &facts.acks {
        let told = (ack.place, ack.event);
        if *first.entry(ack.message).or_insert(told) != told {
            report.add_violation(
                Rule::C11,
                format_args!("{} was acknowledged as {told:?} and otherwise", ack.message),
            );
        }
        for (source, logs) in &facts.logs {
            // A node returns only events that its reader may read; the database returns all.
            let Some(log) = logs.get(&ack.place.conversation) else {
                continue;
            };
            let there = log.get(&ack.place.seq).into_iter().flatten().any(|event| {
                let digest = sent.get(ack.message).map(|sent| sent.digest);
                event.event == ack.event && event.message.as_deref() == Some(ack.message) && event.digest == digest
            });
            if !there {
                report.add_violation(
                    Rule::C1,
                    format_args!(
                        "{} was acknowledged at {:?}, but is not there in {source}",
                        ack.message, ack.place
                    ),
                );
            }
        }
        let mut logs = facts.logs.values();
        if !facts.logs.is_empty() && !logs.any(|logs| logs.contains_key(&ack.place.conversation)) {
            report.add_violation(
                Rule::C1,
                format_args!("{} was acknowledged in a conversation that is nowhere", ack.message),
            );
        }
    }
}

fn there_was_sent_once(facts: &Facts<'_>, sent: &HashMap<&str, &Sent<'_>>, report: &mut Report) {
    for (source, logs) in &facts.logs {
        let mut seen: HashMap<&str, LogPosition> = HashMap::new();
        for event in logs.values().flat_map(|log| log.values()).flatten() {
            let Some(message) = event.message.as_deref() else {
                if event.digest.is_some() {
                    report.add_violation(
                        Rule::C2,
                        format_args!("a message without a key is at {:?} in {source}", event.place),
                    );
                }
                continue;
            };
            match sent.get(message) {
                None => report.add_violation(
                    Rule::C2,
                    format_args!("{message} is at {:?} in {source}, but was never sent", event.place),
                ),
                Some(sent) => {
                    let user = facts.runs.get(&sent.run).map(|run| run.user);
                    if sent.conversation != event.place.conversation
                        || user != Some(event.sender)
                        || event.digest != Some(sent.digest)
                    {
                        report.add_violation(
                            Rule::C2,
                            format_args!(
                                "{message} is at {:?} in {source} as something else than was sent",
                                event.place
                            ),
                        );
                    }
                }
            }
            if let Some(other) = seen.insert(message, event.place) {
                report.add_violation(
                    Rule::C3,
                    format_args!("{message} is at {other:?} and at {:?} in {source}", event.place),
                );
            }
            if let Some(reason) = facts.refused.get(message) {
                report.add_violation(
                    Rule::C3,
                    format_args!(
                        "{message} was refused ({reason}), but is at {:?} in {source}",
                        event.place
                    ),
                );
            }
        }
    }
}
