//! Tests of the calls that run several commands.

use super::*;
use crate::model::ContactState;

/// Error of [`Server`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Outcome(#[from] UnexpectedOutcome),
    #[error(transparent)]
    Text(#[from] TextError),
}

/// Server that answers every request for contacts with the same page.
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
