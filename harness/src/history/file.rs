//! Histories as files.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Record, What};

/// Writes what happens. Shared by everybody in a process; lines of several processes go to several files.
#[derive(Debug)]
pub struct Writer {
    out: Mutex<BufWriter<File>>,
}

impl Writer {
    /// Begins a file, or goes on with it.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self {
            out: Mutex::new(BufWriter::new(file)),
        })
    }

    /// Notes that this happened now. What is to be noted before something is begun has to be noted before it is begun.
    ///
    /// # Errors
    /// The operating system's.
    pub fn note(&self, what: What) -> io::Result<()> {
        // Under the lock, so that the lines stand in the order of their times.
        let mut out = self.out();
        let record = Record { at: now(), what };
        serde_json::to_writer(&mut *out, &record)?;
        out.write_all(b"\n")
    }

    /// The history's clock.
    #[must_use]
    pub fn now(&self) -> u64 {
        now()
    }

    /// Hands everything to the operating system.
    ///
    /// # Errors
    /// The operating system's.
    pub fn flush(&self) -> io::Result<()> {
        self.out().flush()
    }

    fn out(&self) -> MutexGuard<'_, BufWriter<File>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nanoseconds of the monotonic clock.
fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}:{line}: {problem}")]
pub struct HistoryError {
    path: PathBuf,
    line: usize,
    problem: String,
}

/// A whole history, in the order of time.
#[derive(Clone, Debug, Default)]
pub struct History {
    records: Vec<Record>,
}

impl History {
    /// Of these records, in any order.
    #[must_use]
    pub fn new(mut records: Vec<Record>) -> Self {
        records.sort_by_key(|record| record.at);
        Self { records }
    }

    /// Reads files. A last line that its process could not finish is left out.
    ///
    /// # Errors
    /// A file cannot be read, or a line is none of a history.
    pub fn read(paths: &[PathBuf]) -> Result<Self, HistoryError> {
        let mut records = Vec::new();
        for path in paths {
            let wrong = |line: usize, problem: String| HistoryError {
                path: path.clone(),
                line,
                problem,
            };
            let file = File::open(path).map_err(|error| wrong(0, error.to_string()))?;
            let mut lines = BufReader::new(file).lines().enumerate().peekable();
            while let Some((index, line)) = lines.next() {
                let line = line.map_err(|error| wrong(index + 1, error.to_string()))?;
                match serde_json::from_str(&line) {
                    Ok(record) => records.push(record),
                    Err(_) if lines.peek().is_none() => {}
                    Err(error) => return Err(wrong(index + 1, error.to_string())),
                }
            }
        }
        Ok(Self::new(records))
    }

    /// What happened, in the order of time.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }
}
