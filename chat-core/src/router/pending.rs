//! Things to be looked at, each once however often it is asked for: a queue that cannot grow past what there is.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// A set that one task empties.
#[derive(Debug)]
pub(super) struct Pending<T> {
    items: Mutex<HashSet<T>>,
    added: Notify,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self {
            items: Mutex::new(HashSet::new()),
            added: Notify::new(),
        }
    }
}

impl<T: Eq + Hash> Pending<T> {
    pub(super) fn add(&self, item: T) {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).insert(item);
        self.added.notify_one();
    }

    /// Waits for something to do and takes all of it.
    ///
    /// Cancel safe: nothing is taken before it is returned.
    pub(super) async fn take(&self) -> HashSet<T> {
        loop {
            let items = std::mem::take(&mut *self.items.lock().unwrap_or_else(PoisonError::into_inner));
            if !items.is_empty() {
                return items;
            }
            self.added.notified().await;
        }
    }
}
