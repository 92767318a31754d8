//! Errors of a store.

use thiserror::Error;

/// Error of a request to a store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store cannot be reached, was closed, or did not answer in time. A write may or may not
    /// have been committed.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store has no space left for the write; nothing was written.
    #[error("the store is full")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Too many requests wait for the store; nothing was written.
    #[error("the store is overloaded")]
    Overloaded,
    /// The [unit of work](super::Unit) ended with [`TxError::Abort`]; nothing was written.
    #[error("the unit of work rejected the request")]
    Aborted,
    /// The store already holds an event with the sender and client message id of an event of this
    /// unit, or two events of the unit have the same; nothing was written. A unit that runs again
    /// finds a stored event with [`find_sent`](super::MessageTx::find_sent).
    #[error("the client message id of an event was used before")]
    AlreadySent,
    /// The stored data is inconsistent or cannot be decoded.
    #[error("the store found inconsistent data: {0}")]
    Corrupt(String),
    /// The program has a defect: a unit of work panicked or violated the store's contract, or the
    /// store made a request that its database rejects. Says nothing about the stored data.
    #[error("the store found a defect of the program: {0}")]
    Defect(String),
}

impl StoreError {
    /// Returns whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::Full(_) | Self::Overloaded | Self::AlreadySent
        )
    }

    /// Returns a [`StoreError::Unavailable`] caused by `source`.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }
}

/// Reason why a transaction ends early. The unit returns it with `?`; the store then rolls back.
#[derive(Debug, Error)]
pub enum TxError {
    /// The store failed. The store decides whether to run the unit again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The unit rejected the request. This error does not contain the reason: a unit that has a
    /// reason puts it into a slot that the caller of [`Store::transact`](super::Store::transact)
    /// can read.
    #[error("the unit of work rejected the request")]
    Abort,
}
