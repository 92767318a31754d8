//! Tests of hooks about accounts and profiles.

use super::*;

/// Hooks that refuse display names with "admin" in them, choose the display name when `bob` changes
/// his profile, and record registrations and new accounts.
#[derive(Debug, Default)]
struct DisplayNames {
    /// Accounts that `on_registered` was called for.
    registered: Mutex<Vec<UserId>>,
    /// Names that `before_register` was called for.
    asked: Mutex<Vec<UserName>>,
}

impl DisplayNames {
    fn forbids(name: Option<&DisplayName>) -> bool {
        name.is_some_and(|name| name.as_str().contains("admin"))
    }
}

#[async_trait]
impl Hooks for DisplayNames {
    async fn before_register(&self, _: Source, registration: Registration) -> Verdict<Registration> {
        self.asked.lock().unwrap().push(registration.name.clone());
        refuse_if(Self::forbids(registration.display_name.as_ref()), registration)
    }

    async fn before_update_profile(&self, actor: &Actor, mut changes: ProfileChanges) -> Verdict<ProfileChanges> {
        if actor.user.name == "bob" {
            changes.display_name = Some(DisplayName::parse("changed by the hook").unwrap());
        }
        refuse_if(Self::forbids(changes.display_name.as_ref()), changes)
    }

    async fn on_registered(&self, user: UserId) {
        self.registered.lock().unwrap().push(user);
    }
}

fn display_name_change(name: &str) -> ProfileChanges {
    ProfileChanges {
        display_name: Some(DisplayName::parse(name).unwrap()),
        ..ProfileChanges::default()
    }
}

#[tokio::test]
async fn profile_hook_changes_and_refuses() {
    let engine = builder()
        .hooks(Arc::new(DisplayNames::default()))
        .build()
        .await
        .unwrap();
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let refused = alice.update_profile(display_name_change("the admin")).await;
    assert_eq!(error_code(refused), ReplyCode::RefusedByPolicy);
    let changed = alice.update_profile(display_name_change("Alice")).await.unwrap();
    assert_eq!(changed.display_name, "Alice");
    let changed = bob.update_profile(display_name_change("Bob")).await.unwrap();
    assert_eq!(changed.display_name, "changed by the hook");
}

#[tokio::test]
async fn on_registered_sees_every_new_account_and_before_register_only_registrations() {
    let hooks = Arc::new(DisplayNames::default());
    let engine = builder().hooks(hooks.clone()).build().await.unwrap();
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    let bob = operator.create_account(CreateAccount::new(UserName::parse("bob").unwrap()));
    let bob = bob.await.unwrap().id;
    let carl = engine.provision(Subject::new("s").unwrap(), Profile::default());
    let carl = carl.await.unwrap().id;
    let dora = register(&engine, "dora").await;
    engine.shutdown().await;
    assert_eq!(*hooks.registered.lock().unwrap(), [bob, carl, dora]);
    assert_eq!(*hooks.asked.lock().unwrap(), [UserName::parse("dora").unwrap()]);
}
