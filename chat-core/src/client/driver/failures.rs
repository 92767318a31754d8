//! Failures of a client's attempts to connect, and lost connections: which of them the client
//! reports, and when it gives up.

use std::time::Duration;

use crate::client::ClientError;
use crate::client::address::Endpoint;
use crate::client::connect::{ConnectError, Severity};

use super::Driver;

/// Record of the failed attempts and lost connections of one client.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Number of consecutive attempts that failed as [`Severity::Forbidden`].
    forbidden: usize,
    /// Last other failure: a temporary one, or a lost connection. The client reports it when it
    /// gives up, unless `postponed` is set.
    last: Option<(ClientError, Endpoint)>,
    /// Shortest delay that a server asked for, of those that exceed what the application allows,
    /// with the failure of that server.
    postponed: Option<(Duration, ClientError, Endpoint)>,
}

impl Failures {
    /// Records a failed attempt. Returns `false` if no other attempt may follow: because of this
    /// failure, or because all of the client's servers are forbidden. `server_count` is the number
    /// of servers.
    pub(super) fn record(&mut self, error: &ConnectError, endpoint: &Endpoint, server_count: usize) -> bool {
        match error.severity {
            Severity::Permanent => false,
            Severity::Forbidden => {
                self.forbidden += 1;
                self.forbidden < server_count
            }
            Severity::Temporary => {
                self.record_temporary(&error.reason, endpoint);
                true
            }
        }
    }

    /// Records a lost connection, or a temporary failure of an attempt.
    pub(super) fn record_temporary(&mut self, reason: &ClientError, endpoint: &Endpoint) {
        self.forbidden = 0;
        self.last = Some((reason.clone(), endpoint.clone()));
    }

    /// Records that a server asked for a delay that exceeds what the application allows.
    pub(super) fn record_delay(&mut self, delay: Duration, reason: &ClientError, endpoint: &Endpoint) {
        if self.postponed.as_ref().is_none_or(|(shortest, ..)| delay < *shortest) {
            self.postponed = Some((delay, reason.clone(), endpoint.clone()));
        }
    }

    /// Returns whether a server asked for a delay that exceeds what the application allows.
    pub(super) fn is_postponed(&self) -> bool {
        self.postponed.is_some()
    }

    /// Returns the failure to report, with its server: of the servers that asked for a delay that
    /// exceeds what the application allows, the one with the shortest; otherwise the last failure.
    /// Returns `None` if no temporary failure and no delay was recorded.
    pub(super) fn into_reported(self) -> Option<(ClientError, Endpoint)> {
        let postponed = self.postponed.map(|(_, reason, endpoint)| (reason, endpoint));
        postponed.or(self.last)
    }
}

impl Driver {
    /// Returns whether a client that never had a session has used up its attempts.
    pub(super) fn gives_up(&self, attempts: usize) -> bool {
        let allowed = self
            .options
            .max_rounds
            .map(|rounds| rounds as usize * self.options.servers.len());
        !self.progress.had_session && allowed.is_some_and(|allowed| attempts >= allowed)
    }

    /// Returns the delay that a server asked for, if the client never had a session, and the delay
    /// is longer than the application allows.
    pub(super) fn longer_than_allowed(&self, asked: Option<Duration>) -> Option<Duration> {
        let max = self.options.max_retry_delay?;
        asked.filter(|asked| !self.progress.had_session && *asked > max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ServerAddress;

    /// Records a failed attempt to connect to one of two servers. Returns whether another attempt
    /// may follow.
    fn may_retry_after(failures: &mut Failures, server: &str, severity: Severity) -> bool {
        let address: ServerAddress = server.parse().unwrap();
        let error = ConnectError {
            reason: ClientError::Unreachable(server.to_owned()),
            retry_after: None,
            severity,
        };
        failures.record(&error, &address.into(), 2)
    }

    #[test]
    fn forbidden_server_is_neither_final_nor_reported_beside_another() {
        let mut failures = Failures::default();
        for _ in 0..3 {
            assert!(may_retry_after(&mut failures, "plain://a:1", Severity::Forbidden));
            assert!(may_retry_after(&mut failures, "sc1://b:1", Severity::Temporary));
        }
        assert!(may_retry_after(&mut failures, "plain://a:1", Severity::Forbidden));
        let (_, endpoint) = failures.into_reported().unwrap();
        assert_eq!(endpoint.address.to_string(), "sc1://b:1");
    }

    #[test]
    fn server_with_the_shortest_delay_is_reported() {
        let mut failures = Failures::default();
        for (server, seconds) in [("sc1://a:1", 60), ("sc1://b:1", 5), ("sc1://c:1", 10)] {
            let address: ServerAddress = server.parse().unwrap();
            let reason = ClientError::Unreachable(server.to_owned());
            failures.record_delay(Duration::from_secs(seconds), &reason, &address.into());
        }
        assert!(may_retry_after(&mut failures, "sc1://d:1", Severity::Temporary));
        assert!(failures.is_postponed());
        let (_, endpoint) = failures.into_reported().unwrap();
        assert_eq!(endpoint.address.to_string(), "sc1://b:1");
    }

    #[test]
    fn client_ends_if_all_servers_are_forbidden_or_a_failure_is_permanent() {
        let mut failures = Failures::default();
        assert!(may_retry_after(&mut failures, "plain://a:1", Severity::Forbidden));
        assert!(!may_retry_after(&mut failures, "plain://b:1", Severity::Forbidden));
        assert!(!may_retry_after(
            &mut Failures::default(),
            "sc1://a:1",
            Severity::Permanent
        ));
    }
}
