//! The text form of a report: a table.

use std::fmt;

use super::report::{Report, Rule};

impl Report {
    /// Returns the figures of the check, with their names.
    #[must_use]
    pub fn totals(&self) -> [(&'static str, u64); 12] {
        [
            ("faults injected", self.faults),
            ("messages sent", self.sends as u64),
            ("messages acknowledged", self.acked as u64),
            ("messages refused", self.refused as u64),
            ("acknowledgements checked", self.acks as u64),
            ("deliveries checked", self.deliveries as u64),
            ("events in the logs", self.events as u64),
            ("runs checked to the end", self.finished_runs as u64),
            ("lost", self.lost()),
            ("duplicated", self.duplicated()),
            ("reordered", self.reordered()),
            ("misrouted", self.misrouted()),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = if self.sources().is_empty() {
            "no source".to_owned()
        } else {
            self.sources().join(", ")
        };
        writeln!(f, "logs read from              {sources}")?;
        for (name, value) in self.totals() {
            writeln!(f, "{name:<27} {value}")?;
        }
        writeln!(f)?;
        writeln!(f, "rule  violations   content")?;
        for (rule, content) in Rule::ALL {
            let name = format!("{rule:?}");
            let violations = match self.count(rule) {
                0 if !self.could_check(rule) => "not checked".to_owned(),
                count => count.to_string(),
            };
            writeln!(f, "{name:<5} {violations:<12} {content}")?;
        }
        for violation in self.violations() {
            writeln!(f, "{:?}: {}", violation.rule, violation.text)?;
        }
        Ok(())
    }
}
