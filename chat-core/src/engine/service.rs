//! The service boundary: what sessions, on whatever transport, may ask of an engine.

use std::fmt::Debug;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::error::CommandError;
use crate::model::{Admission, Caller, Command, Login, Outcome, Registration, Resume, Source, UserInfo};

/// Takes commands, yields outcomes. Sessions know nothing else of the engine, so that a network may come in between.
#[async_trait]
pub trait Service: Debug + Send + Sync + 'static {
    /// Makes an account.
    ///
    /// # Errors
    /// [`CommandError`]; no account was made, unless the code is `TryAgain`.
    async fn register(&self, source: Source, registration: Registration) -> Result<UserInfo, CommandError>;

    /// Begins a session with a password or what the application takes for one. An older session of the device is over.
    ///
    /// # Errors
    /// [`CommandError`]; an unknown account and a wrong password are told in the same words.
    async fn login(&self, source: Source, login: Login) -> Result<Admission, CommandError>;

    /// Begins a session with the token of an earlier login. An older session of the device is over.
    ///
    /// # Errors
    /// [`CommandError`]; `SessionExpired`: log in again.
    async fn resume(&self, source: Source, resume: Resume) -> Result<Admission, CommandError>;

    /// Does what a session asks.
    ///
    /// # Order
    /// The *call* fixes the order: what two calls of one session append to one conversation is appended in the order of the calls,
    /// whenever their futures are polled.
    ///
    /// # Cancel safety
    /// Dropping the future loses the answer. What was begun goes on.
    fn execute(&self, caller: Caller, command: Command) -> BoxFuture<'static, Result<Outcome, CommandError>>;
}
