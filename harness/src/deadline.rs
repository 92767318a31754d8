//! [`with_deadline`]: limits the time to wait for a server.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use tokio::time::timeout;

/// Maximum wait for an answer. A server that cannot serve a request refuses it within seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Waits for an answer of a server, for at most a minute. `step` names the request or the server in
/// the error of a timeout.
///
/// # Errors
/// The error of the future, or [`io::ErrorKind::TimedOut`].
pub async fn with_deadline<T>(step: impl Display, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(ANSWER_TIMEOUT, future).await.unwrap_or_else(|_| {
        let text = format!("{step}: no answer within {} s", ANSWER_TIMEOUT.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // these are tests

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn missing_answer_times_out() {
        let error = with_deadline("a login", std::future::pending::<io::Result<()>>())
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "a login: no answer within 60 s");
        assert_eq!(with_deadline("a login", async { Ok(7) }).await.unwrap(), 7);
    }
}
