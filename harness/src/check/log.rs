//! Rules C4, C5, C15: numbers and times in each log, and one event at each position.

use std::collections::HashMap;

use super::facts::{Delivery, Facts};
use super::report::{Report, Rule};
use crate::history::{Digest, EventRecord, LogPosition};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    for (source, logs) in &facts.logs {
        for (conversation, log) in logs {
            let mut expected = 1;
            let mut time = i64::MIN;
            for (seq, events) in log {
                if *seq != expected {
                    report.add_violation(
                        Rule::C4,
                        format_args!(
                            "in {source}, position {seq} of conversation {conversation} follows position {}",
                            expected - 1
                        ),
                    );
                }
                expected = seq + 1;
                for event in events {
                    if event.time < time {
                        report.add_violation(
                            Rule::C15,
                            format_args!("in {source}, the time at position {seq} of conversation {conversation} is before the time of an earlier event"),
                        );
                    }
                    time = event.time;
                }
            }
            let Some(head) = facts.heads.get(&(*source, *conversation)) else {
                continue;
            };
            if head.seq != expected - 1 {
                let last = expected - 1;
                report.add_violation(
                    Rule::C4,
                    format_args!(
                        "{source} reports that conversation {conversation} ends at position {}, but returned positions up to {last}",
                        head.seq
                    ),
                );
            }
            if head.seq < head.known_before_request {
                report.add_violation(
                    Rule::C4,
                    format_args!(
                        "conversation {conversation} ends at position {} in {source}, but a client or source had seen position {} before",
                        head.seq, head.known_before_request
                    ),
                );
            }
        }
    }
    check_event_per_position(facts, report);
}

/// Checks rule C5: compares the events that sources and clients have at each position of one store
/// epoch.
fn check_event_per_position<'a>(facts: &Facts<'a>, report: &mut Report) {
    let mut first_events: HashMap<(&str, LogPosition), &EventRecord> = HashMap::new();
    let mut texts: HashMap<(&str, LogPosition), Digest> = HashMap::new();
    let mut compare = |epoch: &'a str, event: &'a EventRecord, observer: &dyn std::fmt::Display| {
        let EventRecord { position, .. } = *event;
        let first: &EventRecord = first_events.entry((epoch, position)).or_insert(event);
        // Only messages have a text.
        let text = event
            .digest
            .map(|text| (*texts.entry((epoch, position)).or_insert(text), text));
        let is_same = (&first.event, first.sender, first.time) == (&event.event, event.sender, event.time)
            && text.is_none_or(|(first, text)| first == text);
        if !is_same {
            report.add_violation(
                Rule::C5,
                format_args!("at {position}, a source or run has {first:?}, but {observer} has {event:?}"),
            );
        }
    };
    for (source, logs) in &facts.logs {
        for event in logs.values().flat_map(|log| log.values()).flatten() {
            let epoch = facts
                .epochs
                .get(&(*source, event.position))
                .copied()
                .unwrap_or_default();
            compare(epoch, event, source);
        }
    }
    for (number, run) in &facts.runs {
        for delivery in &run.deliveries {
            if let Delivery::Event { epoch, event } = delivery {
                compare(epoch, event, &format_args!("run {number}"));
            }
        }
    }
}
