//! Reads and writes histories: files with one [`Record`] per line, in JSON.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use chat_core::sync::{Mutex, MutexGuard};

use super::{Observation, Record};

/// Writes a history to a file. All clients of a process share one writer; each process writes to
/// its own file.
#[derive(Debug)]
pub struct Writer {
    out: Mutex<BufWriter<File>>,
}

impl Writer {
    /// Opens a file to append to it; creates the file if it does not exist.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self {
            out: Mutex::new(BufWriter::new(file)),
        })
    }

    /// Records an observation with the current time. An observation that announces an action, such
    /// as [`Observation::Send`], has to be recorded before the action starts. The record may stay
    /// in a buffer until the next `Send` is recorded or [`flush`](Self::flush) is called.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note(&self, observation: Observation) -> io::Result<()> {
        // The time is taken under the lock, so that lines are ordered by time.
        let mut out = self.out();
        let record = Record { at: now(), observation };
        serde_json::to_writer(&mut *out, &record)?;
        out.write_all(b"\n")?;
        match record.observation {
            // Flushed before the message is sent: if this process is killed, the message may be
            // stored, and the history must contain it.
            Observation::Send { .. } => out.flush(),
            _ => Ok(()),
        }
    }

    /// Returns the current time in nanoseconds, on the same clock as [`Record::at`].
    #[must_use]
    pub fn now(&self) -> u64 {
        now()
    }

    /// Writes all buffered records to the file, without syncing it to the disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&self) -> io::Result<()> {
        self.out().flush()
    }

    fn out(&self) -> MutexGuard<'_, BufWriter<File>> {
        self.out.lock()
    }
}

/// Returns the nanoseconds of the monotonic clock.
fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

/// Error in a line of a history. Line 0 means that the file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{path}:{line}: {problem}")]
pub struct HistoryError {
    path: PathBuf,
    line: usize,
    problem: String,
}

/// Calls `handle` with each record of a file, in file order. An incomplete last line, left by a
/// process that was killed, is ignored.
///
/// # Errors
/// The file cannot be read, a line is not a record, or `handle` returns an error.
pub fn each_record(path: &Path, mut handle: impl FnMut(Record) -> Result<(), String>) -> Result<(), HistoryError> {
    let error_at = |line: usize, problem: String| HistoryError {
        path: path.to_owned(),
        line,
        problem,
    };
    let file = File::open(path).map_err(|error| error_at(0, error.to_string()))?;
    let (mut file, mut line) = (BufReader::new(file), Vec::new());
    for number in 1.. {
        line.clear();
        let read = file.read_until(b'\n', &mut line);
        read.map_err(|error| error_at(number, error.to_string()))?;
        if !line.ends_with(b"\n") {
            break;
        }
        let record = serde_json::from_slice(&line).map_err(|error| error_at(number, error.to_string()))?;
        handle(record).map_err(|problem| error_at(number, problem))?;
    }
    Ok(())
}

/// A whole history, ordered by time.
#[derive(Clone, Debug, Default)]
pub struct History {
    records: Vec<Record>,
}

impl History {
    /// Creates a history from records, which may be in any order.
    #[must_use]
    pub fn new(mut records: Vec<Record>) -> Self {
        records.sort_by_key(|record| record.at);
        Self { records }
    }

    /// Reads the files of one history. An incomplete last line of a file, left by a process that
    /// was killed, is ignored.
    ///
    /// # Errors
    /// A file cannot be read, a line is not a record, or two runs have the same id.
    pub fn read(paths: &[PathBuf]) -> Result<Self, HistoryError> {
        let (mut records, mut runs) = (Vec::new(), HashSet::new());
        for path in paths {
            each_record(path, |record| {
                if let Observation::Run { run, .. } = &record.observation
                    && !runs.insert(*run)
                {
                    return Err(format!("two runs have the id {run}"));
                }
                records.push(record);
                Ok(())
            })?;
        }
        Ok(Self::new(records))
    }

    /// Adds the records of another history.
    pub fn add(&mut self, other: Self) {
        self.records.extend(other.records);
        // Both parts are sorted, and the standard sort merges sorted parts in linear time.
        self.records.sort_by_key(|record| record.at);
    }

    /// Returns all records, ordered by time.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // these are tests

    use super::*;
    use crate::history::Digest;

    fn run(run: u64) -> Observation {
        Observation::Run {
            run,
            user: 1,
            device: "phone".into(),
            cursors: Vec::new(),
        }
    }

    fn write(path: &Path, lines: impl IntoIterator<Item = Observation>) {
        let writer = Writer::open(path).unwrap();
        lines
            .into_iter()
            .for_each(|observation| writer.note(observation).unwrap());
        writer.flush().unwrap();
    }

    #[test]
    fn incomplete_last_line_is_ignored_and_invalid_line_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history");
        let read = || History::read(std::slice::from_ref(&path));
        write(&path, [run(1), run(2)]);
        let whole = std::fs::read(&path).unwrap();
        for (appended, expected) in [
            (&b"{\"at\":1,\"what\":\"fin"[..], Ok(2)),
            (b"\xff\xfe", Ok(2)),
            (b"garbage\n", Err("history:3: ")),
            (b"\n", Err("history:3: ")),
        ] {
            std::fs::write(&path, [&whole, appended].concat()).unwrap();
            let records = read().map(|history| history.records().len());
            match expected {
                Ok(count) => assert_eq!(records.unwrap(), count),
                Err(text) => assert!(records.unwrap_err().to_string().contains(text)),
            }
        }
    }

    #[test]
    fn record_of_a_send_is_written_before_the_message_is_sent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history");
        let writer = Writer::open(&path).unwrap();
        writer.note(run(1)).unwrap();
        let send = Observation::Send {
            run: 1,
            conversation: 1,
            message: "m".into(),
            digest: Digest::of(b"m"),
        };
        writer.note(send).unwrap();
        // The process could be killed here.
        assert_eq!(History::read(&[path]).unwrap().records().len(), 2);
    }

    #[test]
    fn files_with_the_same_run_id_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
        write(&one, [run(1)]);
        write(&other, [run(2)]);
        let mut both = History::read(std::slice::from_ref(&one)).unwrap();
        both.add(History::read(std::slice::from_ref(&other)).unwrap());
        assert_eq!(both.records().len(), 2);
        write(&other, [run(1)]);
        let error = History::read(&[one, other]).unwrap_err();
        assert!(
            error.to_string().ends_with("other:2: two runs have the id 1"),
            "{error}"
        );
    }
}
