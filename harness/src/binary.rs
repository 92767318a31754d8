//! Location of the binaries that end-to-end tests run.

use std::env;
use std::path::PathBuf;

/// Returns the path of the binary `name`: in the directory that the environment variable
/// `CHAT_BIN_DIR` names, or else `built`, for example the binary that cargo built for the test.
///
/// Cargo unifies features over all crates that it builds together, so binaries built for tests
/// contain the test kit. `scripts/test` builds binaries as they ship and sets `CHAT_BIN_DIR`.
pub fn binary(name: &str, built: impl Into<PathBuf>) -> PathBuf {
    match env::var_os("CHAT_BIN_DIR") {
        Some(directory) => PathBuf::from(directory).join(name),
        None => built.into(),
    }
}
