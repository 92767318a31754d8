//! Prompts at the terminal whose answers are not shown.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};

use chat_core::model::Secret;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::signals::StopSignal;

/// Terminal that does not show what is typed and passes every key, that of Ctrl-C too, to its
/// reader. Dropping the value restores the former mode of the terminal.
#[derive(Debug)]
pub(super) struct HiddenInput {
    terminal: File,
    original: Termios,
    terminate: Signal,
    interrupt: Signal,
}

/// Reason why a prompt has no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// A signal arrived, or Ctrl-C was pressed.
    Stopped(StopSignal),
    /// The terminal cannot be read or written.
    Io(io::Error),
}

impl From<io::Error> for NoAnswer {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl HiddenInput {
    /// Hides what is typed from now on at the terminal of the process, or else at the one on
    /// standard input.
    ///
    /// # Errors
    /// There is no terminal, or its mode cannot be set.
    pub(super) fn start() -> io::Result<Self> {
        let open = |path| OpenOptions::new().read(true).write(true).open(path);
        let terminal = open("/dev/tty").or_else(|_| open("/dev/stdin"))?;
        let original = tcgetattr(&terminal)?;
        let mut hidden = original.clone();
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        // A read returns as soon as one byte was typed.
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tcsetattr(&terminal, OptionalActions::Now, &hidden)?;
        Ok(Self {
            terminal,
            original,
            terminate,
            interrupt,
        })
    }

    /// Prints `prompt` and reads a line.
    pub(super) async fn ask(&mut self, prompt: &'static str) -> Result<Secret, NoAnswer> {
        let (mut output, input) = (self.terminal.try_clone()?, self.terminal.try_clone()?);
        let read = move || -> io::Result<Secret> {
            output.write_all(prompt.as_bytes())?;
            let config = rpassword::ConfigBuilder::new().input_reader(input).output_discard();
            let read = rpassword::read_password_with_config(config.build()).map(Secret::new);
            output.write_all(b"\n")?;
            read
        };
        // The end of the runtime would wait for a blocking task, which waits for the user.
        let (answered, answer) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || drop(answered.send(read())));
        tokio::select! {
            biased;
            Some(()) = self.terminate.recv() => Err(NoAnswer::Stopped(StopSignal::Terminate)),
            Some(()) = self.interrupt.recv() => Err(NoAnswer::Stopped(StopSignal::Interrupt)),
            read = answer => match read.map_err(io::Error::other)? {
                // The reader has raised SIGINT, because Ctrl-C was pressed.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    Err(NoAnswer::Stopped(StopSignal::Interrupt))
                }
                read => Ok(read?),
            },
        }
    }

    /// Restores the mode of the terminal, and lets the signals end the process again. The operating
    /// system cannot do that, because tokio keeps its handlers until the process ends.
    pub(super) fn end(self) {
        let handlers = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        let (Ok(mut terminate), Ok(mut interrupt)) = handlers else {
            return; // they were installed before
        };
        tokio::spawn(async move {
            let stopped = tokio::select! {
                Some(()) = terminate.recv() => StopSignal::Terminate,
                Some(()) = interrupt.recv() => StopSignal::Interrupt,
                else => return,
            };
            std::process::exit(stopped.exit_code().into());
        });
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        // The terminal may have been closed.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.original);
    }
}
