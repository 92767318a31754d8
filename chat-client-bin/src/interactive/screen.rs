//! Where lines appear: above the prompt of a terminal, or on stdout.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use rustyline::ExternalPrinter;

/// Prints whole lines. Cheap to clone; a line is never cut by another.
#[derive(Clone)]
pub(super) struct Screen {
    printer: Option<Arc<Mutex<dyn ExternalPrinter + Send>>>,
}

impl Screen {
    /// For input that is no terminal.
    pub(super) fn stdout() -> Self {
        Self { printer: None }
    }

    /// Above what is being typed, which stays.
    pub(super) fn above_the_prompt(printer: impl ExternalPrinter + Send + 'static) -> Self {
        Self {
            printer: Some(Arc::new(Mutex::new(printer))),
        }
    }

    /// Prints a line.
    pub(super) fn line(&self, text: impl fmt::Display) {
        let text = format!("{text}\n");
        let printed = match &self.printer {
            Some(printer) => {
                let mut printer = printer.lock().unwrap_or_else(PoisonError::into_inner);
                printer.print(text).map_err(io::Error::other)
            }
            None => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush())
            }
        };
        drop(printed); // who closed the terminal sees nothing, and the input ends too
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen")
            .field("terminal", &self.printer.is_some())
            .finish()
    }
}
