//! A bound for whatever waits for a server.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use tokio::time::timeout;

/// Servers refuse what they cannot do within seconds. One that takes longer for an answer gives none.
const LONGEST: Duration = Duration::from_secs(60);

/// Waits for one step of a conversation with a server; not for ever.
///
/// # Errors
/// The step's, or that it took too long.
pub async fn step<T>(what: impl Display, doing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(LONGEST, doing).await.unwrap_or_else(|_| {
        let text = format!("{what}: no answer within {} s", LONGEST.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // these are tests

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_never_answers_is_given_up() {
        let error = step("a login", std::future::pending::<io::Result<()>>())
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "a login: no answer within 60 s");
        assert_eq!(step("a login", async { Ok(7) }).await.unwrap(), 7);
    }
}
