//! [`OpenNames`]: names of the feeds that are in use on an engine, each by one feed at a time.

use std::collections::HashSet;
use std::sync::Arc;

use super::options::FeedError;
use crate::sync::Mutex;

/// Names of the feeds that are open on one engine, or are being opened, closed or deleted. Clones
/// share them.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenNames(Arc<Mutex<HashSet<String>>>);

/// Guard that keeps a feed's name taken until the guard is dropped.
#[derive(Debug)]
pub(super) struct OpenName {
    names: OpenNames,
    name: String,
}

impl OpenNames {
    /// Takes a name, or fails with [`FeedError::AlreadyOpen`].
    pub(super) fn take(&self, name: &str) -> Result<OpenName, FeedError> {
        if !self.0.lock().insert(name.to_owned()) {
            return Err(FeedError::AlreadyOpen(name.to_owned()));
        }
        Ok(OpenName {
            names: self.clone(),
            name: name.to_owned(),
        })
    }
}

impl Drop for OpenName {
    fn drop(&mut self) {
        self.names.0.lock().remove(&self.name);
    }
}
