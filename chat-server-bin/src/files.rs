//! Reads files up to a maximum size, so that a wrong path, such as `/dev/zero`, does not fill the
//! memory.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Maximum size of a password file, in bytes.
pub(crate) const MAX_PASSWORD_FILE_BYTES: u64 = 64 << 10;
/// Maximum size of a configuration file, and of a file of certificates or keys, in bytes.
pub(crate) const MAX_CONFIG_FILE_BYTES: u64 = 1 << 20;

/// Reads a file of at most `max` bytes.
///
/// # Errors
/// The file cannot be read, or is larger ([`io::ErrorKind::FileTooLarge`]).
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    read_opened(File::open(path)?, max)
}

/// Reads an open file of at most `max` bytes, as [`read`] does.
pub(crate) fn read_opened(file: File, max: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max {
        let text = format!("the file is larger than {} KiB; check the path", max >> 10);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(content)
}

/// Opens a regular file. Opening a named pipe would wait for a process that writes to it.
///
/// # Errors
/// The file cannot be opened, or is not a regular file.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    File::open(path)
}

/// Reads a file of at most `max` bytes that is UTF-8 text.
///
/// # Errors
/// As for [`read`]; or the content is not UTF-8 ([`io::ErrorKind::InvalidData`]).
pub(crate) fn read_text(path: &Path, max: u64) -> io::Result<String> {
    let invalid = |_| io::Error::new(io::ErrorKind::InvalidData, "the file is not UTF-8 text");
    String::from_utf8(read(path, max)?).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_text_refuses_large_files_and_invalid_utf8() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "x".repeat(1024)).unwrap();
        assert_eq!(read_text(&path, 1024).unwrap().len(), 1024);
        assert_eq!(read_text(&path, 1023).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let endless = read(Path::new("/dev/zero"), 1024).unwrap_err();
        assert_eq!(endless.to_string(), "the file is larger than 1 KiB; check the path");
        std::fs::write(&path, b"\xff").unwrap();
        assert_eq!(read_text(&path, 1024).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn open_regular_refuses_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        assert!(open_regular(directory.path()).is_err());
        let path = directory.path().join("file");
        std::fs::write(&path, "x").unwrap();
        assert_eq!(read_opened(open_regular(&path).unwrap(), 1).unwrap(), b"x");
    }
}
