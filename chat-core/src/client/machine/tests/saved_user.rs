//! Tests of saved state that belongs to another user than the one who logs in.

use super::script::*;
use crate::client::ClientError;
use crate::client::machine::{Action, Credentials};
use crate::codec::{Answer, RequestKind};
use crate::model::{Secret, StoreEpoch, UserId, UserName, UserRef};

/// Connects, and answers the login by password with this user's id and this epoch of the store.
fn log_in_as(script: &mut Script, user_id: UserId, epoch: StoreEpoch) {
    script.machine.connected(script.now);
    let login = script.take(|kind| matches!(kind, RequestKind::Login(_)));
    let mut answer = logged_in(epoch, vec![group_info(0, 0)]);
    answer.user = user(user_id, "alice");
    script.answer(login, Answer::LoggedIn(Box::new(answer)));
    script.drain();
}

#[test]
fn login_as_another_user_ends_the_client_unless_the_store_was_replaced() {
    let mut config = config();
    config.session = None;
    config.credentials = Credentials::Password {
        account: UserRef::Name(UserName::parse("alice").unwrap()),
        secret: Secret::new(*b"secret"),
        fresh: true,
    };
    let mut script = Script::new(config.clone());
    script.send("for the user who had the name before");
    log_in_as(&mut script, OTHER, EPOCH);
    assert!(script.take_message().is_none(), "the message is of another user");
    let refused = |action: &Action| match action {
        Action::End(ClientError::OtherUser { saved, user }) => (*saved, *user) == (ME, OTHER),
        _ => false,
    };
    assert!(script.actions.iter().any(refused), "{:?}", script.actions);
    let changes_state = |action: &Action| matches!(action, Action::LoggedIn(_) | Action::Settle { .. });
    assert!(!script.actions.iter().any(changes_state), "the state stays as it is");
    assert_eq!(script.machine.unsettled(), 1);

    // A restored server may give the same user another id.
    let mut script = Script::new(config);
    log_in_as(&mut script, OTHER, StoreEpoch([2; 16]));
    assert!(script.machine.has_session());
}
