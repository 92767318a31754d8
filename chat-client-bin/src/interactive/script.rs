//! The input lines of a script: which line is running, and how many have failed.

use crate::failure::{Failure, FailureKind};

/// Progress of a script, whose lines are executed one after the other.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// Number of the line that is being executed.
    line: Option<u64>,
    /// Number of the line that was last counted as failed.
    last_failed: Option<u64>,
    /// Number of lines that have failed.
    failed: u64,
}

impl Script {
    /// Returns the number of the line that is being executed, or `None` between two lines.
    pub(super) fn line(&self) -> Option<u64> {
        self.line
    }

    /// Records which line is being executed.
    pub(super) fn set_line(&mut self, line: Option<u64>) {
        self.line = line;
    }

    /// Counts the line that is being executed as failed, once. Returns its number, or `None`
    /// between two lines.
    pub(super) fn fail_line(&mut self) -> Option<u64> {
        let line = self.line?;
        if self.last_failed != Some(line) {
            self.last_failed = Some(line);
            self.failed += 1;
        }
        Some(line)
    }

    /// Returns the outcome of the script.
    ///
    /// # Errors
    /// At least one line has failed.
    pub(super) fn result(&self) -> Result<(), Failure> {
        match self.failed {
            0 => Ok(()),
            1 => Err(Failure::new(FailureKind::Failed, "1 line failed")),
            lines => Err(Failure::new(FailureKind::Failed, format!("{lines} lines failed"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_counts_each_failed_line_once() {
        let mut script = Script::default();
        assert_eq!(script.fail_line(), None, "no line is running");
        assert!(script.result().is_ok());
        script.set_line(Some(1));
        assert_eq!((script.fail_line(), script.fail_line()), (Some(1), Some(1)));
        assert_eq!(script.result().unwrap_err().text, "1 line failed");
        script.set_line(Some(3));
        script.fail_line();
        assert_eq!(script.result().unwrap_err().text, "2 lines failed");
    }
}
