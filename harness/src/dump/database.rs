//! Reads logs from the database.

use std::collections::BTreeSet;
use std::io;
use std::process::Command;
use std::str::FromStr;

use chat_core::codec::body;
use chat_core::model::{ConversationId, Event, EventId, EventKind, Seq, Timestamp, UserId};

use super::record;
use crate::history::{EventRecord, LogPosition, Observation, Writer};

/// Name of the database in histories, as a source of logs.
const SOURCE: &str = "database";

/// Maximum time to connect, in seconds.
const CONNECT_TIMEOUT_S: u32 = 30;

/// Database of a store in MariaDB or MySQL, read with the program `mariadb`.
#[derive(Clone, PartialEq, Eq)]
pub struct Database {
    host: String,
    port: u16,
    user: String,
    password: String,
    name: String,
}

/// Error of parsing a [`Database`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the URL of a database; write mysql://USER[:PASSWORD]@HOST[:PORT]/DATABASE")]
pub struct DatabaseUrlError;

impl FromStr for Database {
    type Err = DatabaseUrlError;

    fn from_str(url: &str) -> Result<Self, DatabaseUrlError> {
        let rest = url.strip_prefix("mysql://").ok_or(DatabaseUrlError)?;
        let (login, address) = rest.rsplit_once('@').ok_or(DatabaseUrlError)?;
        let (address, name) = address.split_once('/').ok_or(DatabaseUrlError)?;
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = match address.rsplit_once(':') {
            // An IPv6 address without a port has colons too.
            Some((host, port)) if !address.ends_with(']') => (host, port.parse().map_err(|_| DatabaseUrlError)?),
            _ => (address, 3306),
        };
        if [host, user, name].iter().any(|part| part.is_empty()) {
            return Err(DatabaseUrlError);
        }
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            user: user.to_owned(),
            password: password.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            host, port, user, name, ..
        } = self;
        write!(f, "mysql://{user}@{host}:{port}/{name}")
    }
}

impl Database {
    /// Records the logs, their heads (last positions) and the memberships of the conversations in
    /// `only`, or of all conversations.
    ///
    /// # Errors
    /// The program `mariadb` is not installed, the database does not answer, refuses the user or
    /// has another schema, an event cannot be decoded, or the history cannot be written.
    pub fn dump(&self, only: Option<&BTreeSet<u64>>, history: &Writer) -> io::Result<()> {
        let among = |column: &str| match only {
            None => "TRUE".to_owned(),
            Some(only) if only.is_empty() => "FALSE".to_owned(),
            Some(only) => {
                let ids: Vec<String> = only.iter().map(u64::to_string).collect();
                format!("{column} IN ({})", ids.join(","))
            }
        };
        let asked = history.now();
        // All queries read one snapshot: a transaction that commits meanwhile is in all results or
        // in none. The first position of a user who was never a member is 0.
        let rows = self.sql(&format!(
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY;
             SELECT LOWER(HEX(value)) FROM meta WHERE name = 'epoch';
             SELECT conversation_id, seq, HEX(id), sender_id, time, kind, IFNULL(HEX(client_message_id), ''), HEX(body)
             FROM event WHERE {0} ORDER BY conversation_id, seq;
             SELECT id, last_seq FROM conversation WHERE {1};
             SELECT user_id, conversation_id, first_seq, IFNULL(until_seq, 0) FROM member WHERE first_seq > 0 AND {0};
             COMMIT",
            among("conversation_id"),
            among("id")
        ))?;
        let mut rows = rows.lines();
        let epoch = rows
            .next()
            .ok_or_else(|| io::Error::other("the database has no epoch"))?;
        let mut without_head = only.cloned().unwrap_or_default();
        for line in rows {
            let observation = read_row(line, epoch, asked)?;
            if let Observation::Head { last, .. } = &observation {
                without_head.remove(&last.conversation);
            }
            history.note(observation)?;
        }
        // The database has a head for each conversation that exists. A requested conversation
        // without one was never created there, so its log is empty.
        for conversation in without_head {
            let last = LogPosition { conversation, seq: 0 };
            let source = SOURCE.to_owned();
            history.note(Observation::Head { source, last, asked })?;
        }
        Ok(())
    }

    fn is_local(&self) -> bool {
        let is_loopback = |ip: std::net::IpAddr| ip.is_loopback();
        self.host == "localhost" || self.host.parse().is_ok_and(is_loopback)
    }

    fn sql(&self, statement: &str) -> io::Result<String> {
        let output = Command::new("mariadb")
            .args(["--no-defaults", "--protocol=tcp", "--batch", "--skip-column-names"])
            .args([
                format!("--host={}", self.host),
                format!("--port={}", self.port),
                format!("--user={}", self.user),
                format!("--database={}", self.name),
                format!("--connect-timeout={CONNECT_TIMEOUT_S}"),
            ])
            // Other users of the machine can see the arguments, but not the environment.
            .env("MYSQL_PWD", &self.password)
            // No peer can eavesdrop within a machine, and local servers rarely have certificates
            // that clients trust.
            .args(self.is_local().then_some("--skip-ssl"))
            .args(["--execute", statement])
            .output()?;
        if !output.status.success() {
            return Err(io::Error::other(
                String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            ));
        }
        String::from_utf8(output.stdout).map_err(io::Error::other)
    }
}

/// Parses a row. The number of columns identifies the table.
fn read_row(line: &str, epoch: &str, asked: u64) -> io::Result<Observation> {
    let source = SOURCE.to_owned();
    match line.split('\t').count() {
        2 => {
            let [conversation, seq] = numbers(line)?;
            let last = LogPosition { conversation, seq };
            Ok(Observation::Head { source, last, asked })
        }
        4 => {
            let [user, conversation, seq, until] = numbers(line)?;
            Ok(Observation::Member {
                user,
                first: LogPosition { conversation, seq },
                until: (until > 0).then_some(until),
            })
        }
        _ => Ok(Observation::Logged {
            source,
            epoch: epoch.to_owned(),
            event: read_event(line).ok_or_else(|| {
                io::Error::other(format!("the database returned an event that cannot be decoded: {line}"))
            })?,
        }),
    }
}

fn numbers<const N: usize>(line: &str) -> io::Result<[u64; N]> {
    let numbers: Result<Vec<u64>, _> = line.split('\t').map(str::parse).collect();
    let numbers = numbers.map_err(io::Error::other)?;
    numbers
        .try_into()
        .map_err(|_| io::Error::other(format!("the database returned {line:?} instead of {N} numbers")))
}

fn read_event(line: &str) -> Option<EventRecord> {
    let mut columns = line.split('\t');
    let mut next = || columns.next();
    let (conversation, seq) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let event = next()?.to_lowercase();
    let sender: u64 = next()?.parse().ok()?;
    let time = next()?.parse().ok()?;
    let kind = EventKind::from_number(next()?.parse().ok()?)?;
    let message = next()?.to_lowercase();
    let body = unhex(next()?)?;
    let decoded = body::decode(kind, &body.into()).ok()?;
    // This event has a placeholder as its id, and no client message id. The record gets both ids
    // from the row, which has them in hexadecimal.
    let event_row = Event::new(
        ConversationId(conversation),
        Seq(seq),
        EventId([0; 16]),
        UserId(sender),
        Timestamp(time),
        kind,
        Default::default(),
    );
    let decoded_record = record(&event_row, &decoded);
    Some(EventRecord {
        event,
        message: (kind == EventKind::Message && !message.is_empty()).then_some(message),
        ..decoded_record
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let byte = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_url_is_parsed() {
        let read: Database = "mysql://chat:p@ss:word@db.example:3307/chat".parse().unwrap();
        assert_eq!((read.user.as_str(), read.password.as_str()), ("chat", "p@ss:word"));
        assert_eq!(
            (read.host.as_str(), read.port, read.name.as_str()),
            ("db.example", 3307, "chat")
        );
        assert!(!format!("{read:?}").contains("p@ss"));
        let short: Database = "mysql://root@[::1]/chat".parse().unwrap();
        assert_eq!((short.host.as_str(), short.port), ("::1", 3306));
        for wrong in [
            "chat",
            "mysql://root@/chat",
            "mysql://root@host",
            "mysql://root@host:x/chat",
        ] {
            assert_eq!(wrong.parse::<Database>(), Err(DatabaseUrlError), "{wrong}");
        }
    }
}
