//! Tests of calls that do more than run one command as given.

use super::*;
use crate::model::ContactState;
use crate::sync::Mutex;

/// Error of [`Server`] and [`Recorder`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Outcome(#[from] UnexpectedOutcome),
    #[error(transparent)]
    Text(#[from] TextError),
}

/// Server that answers every command with the same page of contacts.
struct Server(ContactPage);

impl Commands for Server {
    type Error = Failure;

    async fn execute(&self, _: Command) -> Result<Outcome, Failure> {
        Ok(Outcome::Contacts(self.0.clone()))
    }
}

/// A defective server does not keep a client reading forever.
#[tokio::test]
async fn contacts_fail_if_a_page_is_followed_by_itself() {
    let contact = ContactInfo::new(UserInfo::new(UserId(7), "bob".to_owned()), ContactState::Friend);
    for contacts in [Vec::new(), vec![contact.clone()]] {
        let failed = Server(ContactPage::new(contacts, true)).contacts().await;
        assert_eq!(failed, Err(answer::repeated_page().into()));
    }
    let last = Server(ContactPage::new(vec![contact.clone()], false));
    assert_eq!(last.contacts().await, Ok(vec![contact]));
}

/// A mute of less than the unit of the protocol does not become zero, which would unmute the
/// member.
#[tokio::test]
async fn duration_of_a_mute_is_rounded_up_to_milliseconds() {
    for (duration, expected_ms) in [
        (Duration::ZERO, 0),
        (Duration::from_nanos(1), 1),
        (Duration::from_millis(1), 1),
        (Duration::from_micros(1001), 2),
        (Duration::MAX, u64::MAX),
    ] {
        let recorder = Recorder::default();
        recorder
            .mute_member(ConversationId(9), UserId(7), duration)
            .await
            .unwrap();
        let commands = recorder.0.into_inner();
        assert!(
            matches!(&commands[..], [Command::MuteMember { duration_ms, .. }] if *duration_ms == expected_ms),
            "{duration:?}: {commands:?}"
        );
    }
}

/// Server that records commands and executes none.
#[derive(Default)]
struct Recorder(Mutex<Vec<Command>>);

impl Commands for Recorder {
    type Error = Failure;

    async fn execute(&self, command: Command) -> Result<Outcome, Failure> {
        self.0.lock().push(command);
        Ok(Outcome::Done)
    }
}
