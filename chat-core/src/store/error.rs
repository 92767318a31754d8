//! How a store fails.

use thiserror::Error;

/// Why a store did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store cannot be reached, or did not answer in time. A write may or may not have happened.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no room for what was to be written; nothing was.
    #[error("the store is full")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Too much waits for the store; nothing was written.
    #[error("the store is overloaded")]
    Overloaded,
    /// The unit of work refused; nothing was written.
    #[error("the unit of work refused")]
    Refused,
    /// A client message id that was to be stored is stored already; nothing was written. Whoever runs the unit of work again finds it with
    /// [`find_sent`](super::MessageTx::find_sent).
    #[error("a client message id is used already")]
    AlreadySent,
    /// What is stored breaks the store's own rules, or the store was used against its contract.
    #[error("the store is broken: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::Full(_) | Self::Overloaded | Self::AlreadySent
        )
    }

    /// An [`StoreError::Unavailable`] because of `source`.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }
}

/// How a step of a transaction ends it. The unit passes it on with `?`; the store then rolls back.
#[derive(Debug, Error)]
pub enum TxError {
    /// The store failed. It decides whether to run the unit again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The unit refused: it keeps the reason itself.
    #[error("the unit of work refused")]
    Abort,
}
