//! Tests of hooks that decide about messages, groups and friendships.

use std::sync::OnceLock;

use super::*;
use crate::engine::ActingAs;

/// Hooks that refuse texts and group names with "spam" in them, joins by `mallory`, invitations to
/// `mallory`, friend requests to `mallory`, acceptances of friend requests from `mallory`, and all
/// acceptances by `bob`. They replace the description of new groups, and record their calls about
/// drafts and changed groups.
#[derive(Debug, Default)]
pub(super) struct Moderation {
    pub(super) asked: Mutex<Vec<String>>,
}

impl Moderation {
    fn record(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }
}

#[async_trait]
impl Hooks for Moderation {
    async fn before_append(&self, context: &AppendContext, draft: Draft) -> Verdict<Draft> {
        let sender = &context.actor.user.name;
        self.record(match &context.target {
            AppendTarget::Direct(peer) => format!("{sender} to {}", peer.name),
            AppendTarget::Group { group, role } => format!("{sender} as {role:?} to {}", group.profile.name),
            AppendTarget::Inbox => format!("{sender} to the inbox"),
        });
        let is_spam = draft.written_text().is_some_and(|text| text.as_str().contains("spam"));
        refuse_if(is_spam, draft)
    }

    async fn before_create_group(&self, actor: &Actor, mut group: NewGroup) -> Verdict<NewGroup> {
        group.description = Description::new(format!("made by {}", actor.user.name)).unwrap();
        refuse_if(group.name.as_str().contains("spam"), group)
    }

    async fn before_update_group(&self, context: &GroupContext, changes: GroupChanges) -> Verdict<GroupChanges> {
        self.record(format!("{:?} changes {}", context.role, context.group.profile.name));
        let is_forbidden = changes.name.as_ref().is_some_and(|name| name.as_str().contains("spam"));
        refuse_if(is_forbidden, changes)
    }

    async fn before_join(&self, context: &GroupContext, note: Note) -> Verdict<Note> {
        refuse_if(context.actor.user.name == "mallory", note)
    }

    async fn before_invite(&self, _: &GroupContext, invited: &UserInfo) -> Verdict<()> {
        refuse_if(invited.name == "mallory", ())
    }

    async fn before_befriend(&self, actor: &Actor, peer: &UserInfo, step: &FriendshipStep) -> Verdict<()> {
        let is_accepted_by_bob = *step == FriendshipStep::Accept && actor.user.name == "bob";
        refuse_if(peer.name == "mallory" || is_accepted_by_bob, ())
    }
}

async fn engine_with_moderation() -> (Engine, Arc<Moderation>) {
    let moderation = Arc::new(Moderation::default());
    let engine = builder().hooks(moderation.clone()).build().await.unwrap();
    (engine, moderation)
}

#[tokio::test]
async fn append_hook_sees_names_and_roles_and_covers_edits() {
    let (engine, moderation) = engine_with_moderation().await;
    let alice = new_user(&engine, "alice").await;
    let group = create_group(&alice, "rust").await;
    let sent = alice.send_text(group, "fine").await.unwrap();
    let edited = alice.edit(group, sent.seq, text("now spam")).await;
    assert_eq!(error_code(edited), ReplyCode::RefusedByPolicy);
    alice.send_text(direct(&alice), "note").await.unwrap();
    assert_eq!(texts(&history(&alice, ConversationRef::Id(group)).await), ["fine"]);
    let asked = moderation.asked.lock().unwrap().clone();
    let to_group = "alice as Some(Owner) to rust";
    assert_eq!(asked, [to_group, to_group, "alice to alice"]);
}

#[tokio::test]
async fn group_hooks_change_and_refuse() {
    let (engine, moderation) = engine_with_moderation().await;
    let (alice, mallory) = (new_user(&engine, "alice").await, new_user(&engine, "mallory").await);
    let refused = alice
        .create_group(NewGroup::new(GroupName::parse("spam").unwrap()))
        .await;
    assert_eq!(error_code(refused), ReplyCode::RefusedByPolicy);

    let new = NewGroup::new(GroupName::parse("rust").unwrap());
    let created = alice.create_group(new.clone()).await.unwrap();
    let again = alice.create_group(new).await.unwrap();
    assert_eq!(
        created.id, again.id,
        "a retry finds the group, although the hook changed it"
    );
    let ConversationView::Group(info) = created.view else {
        panic!("not a group")
    };
    assert_eq!(info.profile.description, "made by alice");

    let group = ConversationRef::Id(created.id);
    let renamed = GroupChanges {
        name: Some(GroupName::parse("more-spam").unwrap()),
        ..GroupChanges::default()
    };
    assert_eq!(
        error_code(alice.update_group(group.clone(), renamed).await),
        ReplyCode::RefusedByPolicy
    );
    assert_eq!(*moderation.asked.lock().unwrap(), ["Some(Owner) changes rust"]);
    let joined = mallory.join_group(group.clone(), Note::default()).await;
    assert_eq!(error_code(joined), ReplyCode::RefusedByPolicy);
    let invited = alice.invite_member(group, user(&mallory)).await;
    assert_eq!(error_code(invited), ReplyCode::RefusedByPolicy);
}

#[tokio::test]
async fn hooks_do_not_reveal_unlisted_groups_to_strangers() {
    let (engine, _) = engine_with_moderation().await;
    let (alice, mallory) = (new_user(&engine, "alice").await, new_user(&engine, "mallory").await);
    let mut new = NewGroup::new(GroupName::parse("secret").unwrap());
    new.unlisted = true;
    let group = alice.create_group(new).await.unwrap().id;
    let joined = mallory.join_group(group, Note::default()).await;
    assert_eq!(error_code(joined), ReplyCode::NotFound);
}

#[tokio::test]
async fn friendship_hooks_refuse_requests_and_answers() {
    let (engine, _) = engine_with_moderation().await;
    let alice = new_user(&engine, "alice").await;
    let (bob, mallory) = (new_user(&engine, "bob").await, new_user(&engine, "mallory").await);
    let refused = alice.request_friend(user(&mallory), Note::default()).await;
    assert_eq!(error_code(refused), ReplyCode::RefusedByPolicy);
    alice.request_friend(user(&bob), Note::default()).await.unwrap();
    let accepted = bob.answer_friend(user(&alice), true).await;
    assert_eq!(error_code(accepted), ReplyCode::RefusedByPolicy);
    // To request the friendship in turn would accept the request too.
    let requested = bob.request_friend(user(&alice), Note::default()).await;
    assert_eq!(error_code(requested), ReplyCode::RefusedByPolicy);
    bob.answer_friend(user(&alice), false).await.unwrap();
    // Alice's request was declined, so a request of Bob accepts nothing, and the hooks allow it.
    bob.request_friend(user(&alice), Note::default()).await.unwrap();
}

/// Hooks that do not let `bob` accept a friendship. While they decide about a request of his, the
/// peer requests the friendship too.
#[derive(Debug, Default)]
struct RequestMeanwhile {
    /// The peer, and a reference to `bob`, from whom the peer requests the friendship.
    peer: OnceLock<(ActingAs, UserRef)>,
}

#[async_trait]
impl Hooks for RequestMeanwhile {
    async fn before_befriend(&self, actor: &Actor, _: &UserInfo, step: &FriendshipStep) -> Verdict<()> {
        if actor.user.name != "bob" {
            return Verdict::Allow(());
        }
        if let FriendshipStep::Request(_) = step {
            let (peer, bob) = self.peer.get().unwrap();
            peer.request_friend(bob.clone(), Note::default()).await.unwrap();
        }
        refuse_if(*step == FriendshipStep::Accept, ())
    }
}

#[tokio::test]
async fn request_that_became_an_acceptance_meanwhile_is_not_committed() {
    let hooks = Arc::new(RequestMeanwhile::default());
    let engine = builder().hooks(hooks.clone()).build().await.unwrap();
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    hooks.peer.set((engine.acting_as(id(&alice)), user(&bob))).unwrap();
    let request = async || error_code(bob.request_friend(user(&alice), Note::default()).await);
    assert_eq!(request().await, ReplyCode::Busy);
    assert_eq!(request().await, ReplyCode::RefusedByPolicy);
    let contacts = bob.contacts().await.unwrap();
    let states: Vec<ContactState> = contacts.iter().map(|contact| contact.state).collect();
    assert_eq!(states, [ContactState::Pending]);
}
