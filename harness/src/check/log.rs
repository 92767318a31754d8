//! C4, C5, C15: the logs themselves.

use std::collections::HashMap;

use super::facts::{Facts, Handed};
use super::report::{Report, Rule};
use crate::history::Place;

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    for (source, logs) in &facts.logs {
        for (conversation, log) in logs {
            let mut expected = 1;
            let mut time = i64::MIN;
            for (seq, events) in log {
                if *seq != expected {
                    report.broken(
                        Rule::C4,
                        format_args!("{conversation} has {seq} after {} in {source}", expected - 1),
                    );
                }
                expected = seq + 1;
                for event in events {
                    if event.time < time {
                        report.broken(
                            Rule::C15,
                            format_args!("{conversation} goes back in time at {seq} in {source}"),
                        );
                    }
                    time = event.time;
                }
            }
            if let Some(head) = facts.heads.get(&(*source, *conversation))
                && *head != expected - 1
            {
                report.broken(
                    Rule::C4,
                    format_args!("{conversation} ends at {head} but has {} in {source}", expected - 1),
                );
            }
        }
    }
    one_place_one_event(facts, report);
}

fn one_place_one_event(facts: &Facts<'_>, report: &mut Report) {
    let mut held: HashMap<(&str, Place), &str> = HashMap::new();
    let mut see = |epoch, place, event, who: &dyn std::fmt::Display| {
        let first = *held.entry((epoch, place)).or_insert(event);
        if first != event {
            report.broken(Rule::C5, format_args!("{place:?} is {first}, and {event} for {who}"));
        }
    };
    for (source, logs) in &facts.logs {
        for event in logs.values().flat_map(|log| log.values()).flatten() {
            let epoch = facts.epochs.get(&(*source, event.place)).copied().unwrap_or_default();
            see(epoch, event.place, event.event.as_str(), source);
        }
    }
    for (run, life) in &facts.runs {
        for handed in &life.handed {
            if let Handed::Event { epoch, event } = handed {
                see(epoch, event.place, event.event.as_str(), run);
            }
        }
    }
}
