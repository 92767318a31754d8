//! Rules C1, C2, C3, C11: acknowledgements agree with the logs, and logs with what was sent.

use std::collections::HashMap;

use super::facts::{Facts, Sent};
use super::report::{Report, Rule};
use crate::history::LogPosition;

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let sent: HashMap<&str, &Sent<'_>> = facts.sends.iter().map(|sent| (sent.message, sent)).collect();
    check_acknowledged(facts, &sent, report);
    check_stored(facts, &sent, report);
}

fn check_acknowledged(facts: &Facts<'_>, sent: &HashMap<&str, &Sent<'_>>, report: &mut Report) {
    let mut first_acks: HashMap<&str, (LogPosition, &str)> = HashMap::new();
    for ack in &facts.acks {
        let acknowledged = (ack.position, ack.event);
        let first = *first_acks.entry(ack.message).or_insert(acknowledged);
        if first != acknowledged {
            report.add_violation(
                Rule::C11,
                format_args!(
                    "message {} was acknowledged as event {} at {}, but also as event {} at {}",
                    ack.message, first.1, first.0, ack.event, ack.position
                ),
            );
        }
        for (source, logs) in &facts.logs {
            // A source (a node or the database) may lack whole conversations: a node returns only
            // those that the user who asks may read. A conversation that no source has is reported
            // below.
            let Some(log) = logs.get(&ack.position.conversation) else {
                continue;
            };
            let is_stored = log.get(&ack.position.seq).into_iter().flatten().any(|event| {
                let digest = sent.get(ack.message).map(|sent| sent.digest);
                event.event == ack.event && event.message.as_deref() == Some(ack.message) && event.digest == digest
            });
            if !is_stored {
                report.add_violation(
                    Rule::C1,
                    format_args!(
                        "message {} was acknowledged at {} as event {}, but {source} does not have this event with this message there",
                        ack.message, ack.position, ack.event
                    ),
                );
            }
        }
        let mut logs = facts.logs.values();
        if !facts.logs.is_empty() && !logs.any(|logs| logs.contains_key(&ack.position.conversation)) {
            report.add_violation(
                Rule::C1,
                format_args!(
                    "message {} was acknowledged in a conversation that no source has",
                    ack.message
                ),
            );
        }
    }
}

fn check_stored(facts: &Facts<'_>, sent: &HashMap<&str, &Sent<'_>>, report: &mut Report) {
    for (source, logs) in &facts.logs {
        let mut seen: HashMap<&str, LogPosition> = HashMap::new();
        for event in logs.values().flat_map(|log| log.values()).flatten() {
            let Some(message) = event.message.as_deref() else {
                if event.digest.is_some() {
                    report.add_violation(
                        Rule::C2,
                        format_args!(
                            "a message without an idempotency key is at {} in {source}",
                            event.position
                        ),
                    );
                }
                continue;
            };
            match sent.get(message) {
                None => report.add_violation(
                    Rule::C2,
                    format_args!(
                        "message {message} is at {} in {source}, but no client sent it",
                        event.position
                    ),
                ),
                Some(sent) => {
                    let user = facts.runs.get(&sent.run).map(|run| run.user);
                    if sent.conversation != event.position.conversation
                        || user != Some(event.sender)
                        || event.digest != Some(sent.digest)
                    {
                        report.add_violation(
                            Rule::C2,
                            format_args!(
                                "message {message} at {} in {source} differs from the message that was sent",
                                event.position
                            ),
                        );
                    }
                }
            }
            if let Some(earlier) = seen.insert(message, event.position) {
                report.add_violation(
                    Rule::C3,
                    format_args!(
                        "message {message} is twice in {source}: at {earlier} and at {}",
                        event.position
                    ),
                );
            }
            if let Some(reason) = facts.refused.get(message) {
                report.add_violation(
                    Rule::C3,
                    format_args!(
                        "message {message} was refused ({reason}), but is at {} in {source}",
                        event.position
                    ),
                );
            }
        }
    }
}
