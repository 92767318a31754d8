//! [`KnownHostsFile`]: known hosts in a file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::PathBuf,
};

#[cfg(feature = "client")]
use super::format_authority;
use super::{KnownHosts, KnownHostsError, format_pin};
use crate::file_names;
use crate::secure::Fingerprint;

/// The file of pinned server keys. Several processes can use it at the same time.
#[derive(Debug, Clone)]
pub struct KnownHostsFile {
    path: PathBuf,
}

impl KnownHostsFile {
    /// Returns a handle for the file at `path`, which need not exist yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads the pins, and the hosts that proved themselves by a certificate. Returns neither if
    /// there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or a line cannot be parsed.
    pub fn load(&self) -> Result<KnownHosts, KnownHostsError> {
        match File::open(&self.path) {
            Ok(mut file) => KnownHosts::parse(&self.read(&mut file)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(KnownHosts::default()),
            Err(error) => Err(self.file_error(error)),
        }
    }

    /// Pins `key` for `host` and makes the pin durable, unless the key is pinned already. Call this
    /// after the handshake of a first contact, before sending anything over the channel.
    ///
    /// # Errors
    /// [`KnownHostsError::KeyChanged`]: only other keys are pinned for `host`, for example because
    /// another process has pinned one in the meantime. [`KnownHostsError::NoCertificate`]: no key
    /// is pinned for `host`, and it has proved itself by a certificate before. In both cases,
    /// nothing was written. Other errors: `host` is invalid, or the file cannot be read, parsed or
    /// written.
    pub fn remember(&self, host: &str, key: &Fingerprint, comment: &str) -> Result<(), KnownHostsError> {
        let line = format_pin(host, key, comment)?;
        let mut file = self.open_locked().map_err(|error| self.file_error(error))?;
        let text = self.read(&mut file)?;
        if KnownHosts::parse(&text)?.needs_pin(host, key)? {
            self.append(&mut file, &text, &line)
                .map_err(|error| self.file_error(error))?;
        }
        Ok(())
    }

    /// Records durably that `host` has proved itself by a certificate of a trusted authority,
    /// unless this is recorded already.
    ///
    /// # Errors
    /// `host` is invalid, or the file cannot be read, parsed or written.
    #[cfg(feature = "client")]
    pub(crate) fn remember_authority(&self, host: &str) -> Result<(), KnownHostsError> {
        let line = format_authority(host)?;
        let mut file = self.open_locked().map_err(|error| self.file_error(error))?;
        let text = self.read(&mut file)?;
        if !KnownHosts::parse(&text)?.is_certified(host) {
            self.append(&mut file, &text, &line)
                .map_err(|error| self.file_error(error))?;
        }
        Ok(())
    }

    /// Opens the file, or creates it, and locks it. The lock ends when the file is closed.
    fn open_locked(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&self.path)?;
        file.lock()?;
        Ok(file)
    }

    fn read(&self, file: &mut File) -> Result<String, KnownHostsError> {
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| self.file_error(error))?;
        Ok(text)
    }

    fn file_error(&self, source: io::Error) -> KnownHostsError {
        KnownHostsError::File {
            path: self.path.display().to_string(),
            source,
        }
    }

    /// Appends a line durably and with one write, so that a reader sees the complete line or
    /// nothing. If the last line of the file has no line end, the write begins with one. `text` is
    /// the content of the file so far.
    fn append(&self, file: &mut File, text: &str, line: &str) -> io::Result<()> {
        let separator = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        file.write_all(format!("{separator}{line}\n").as_bytes())?;
        file.sync_all()?;
        if text.is_empty() {
            // The file may have just been created.
            file_names::sync_name(&self.path)?;
        }
        Ok(())
    }
}
