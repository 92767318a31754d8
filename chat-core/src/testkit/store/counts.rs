//! Cases about counts of unread messages and mentions, and the memberships that contain them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::fixture::{
    NewEvent, SeededRng, World, append, append_to, create, device_id, messages, new_group, put_member, transact,
};
use crate::model::{ConversationId, EventKind, Member, MemberState, Role, Seq, UserId};
use crate::store::{MembershipView, Store};

/// Returns the number of unread messages and the number of unread mentions that a member of the
/// group has.
async fn counts(world: &World, user: UserId) -> (u64, u64) {
    let membership = world.membership(user).await;
    (membership.unread, membership.unread_mentions)
}

async fn read_to(world: &World, user: UserId, seq: Seq) {
    world.store.advance_reads(&[(user, world.group, seq)]).await.unwrap();
}

async fn leave(world: &World, user: UserId, until: Seq) {
    let mut member = world.member(user).await;
    member.state = MemberState::Left;
    member.until_seq = Some(until);
    put_member(&*world.store, member).await;
}

async fn recall(world: &World, target: Seq) {
    let (group, alice) = (world.group, world.alice);
    let work = transact(&*world.store, move |tx| {
        Box::pin(async move {
            let events = append_to(tx, group, alice, &[NewEvent::of(EventKind::Recall, Some(target))]).await?;
            Ok(tx
                .erase(group, target, events[0].seq, Bytes::new(), Bytes::new())
                .await?)
        })
    });
    work.await.unwrap();
}

pub async fn unread_counts_messages_only(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    assert_eq!(counts(&world, world.bob).await, (0, 0));
    world.say(vec![NewEvent::of(EventKind::GroupCreated, None)]).await;
    assert_eq!(counts(&world, world.bob).await, (0, 0));
    world.say(messages(3)).await;
    world
        .say(vec![
            NewEvent::of(EventKind::Reaction, Some(Seq(2))),
            NewEvent::of(EventKind::Edit, Some(Seq(2))),
        ])
        .await;
    assert_eq!(counts(&world, world.bob).await, (3, 0));
}

pub async fn unread_count_starts_after_the_read_mark(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world.say(messages(2)).await;
    world.say(vec![NewEvent::of(EventKind::Reaction, Some(Seq(2)))]).await;
    world.say(messages(2)).await;
    for (read, unread) in [(1, 3), (2, 2), (3, 2), (4, 1), (5, 0)] {
        read_to(&world, world.bob, Seq(read)).await;
        assert_eq!(counts(&world, world.bob).await, (unread, 0), "read up to {read}");
    }
    assert_eq!(counts(&world, world.carol).await, (4, 0));
}

pub async fn counts_of_a_former_member_end_at_until_seq(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world.say(messages(5)).await;
    read_to(&world, world.carol, Seq(1)).await;
    leave(&world, world.carol, Seq(3)).await;
    world
        .say(vec![NewEvent::message("later").mentioning(&[world.carol])])
        .await;
    assert_eq!(counts(&world, world.carol).await, (2, 0));
    read_to(&world, world.carol, Seq(3)).await;
    assert_eq!(counts(&world, world.carol).await, (0, 0));
}

pub async fn recalled_message_counts_no_longer(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world
        .say(vec![
            NewEvent::message("@bob").mentioning(&[world.bob]),
            NewEvent::message("plain"),
        ])
        .await;
    assert_eq!(counts(&world, world.bob).await, (2, 1));
    recall(&world, Seq(1)).await;
    assert_eq!(counts(&world, world.bob).await, (1, 0));
    read_to(&world, world.carol, Seq(1)).await;
    assert_eq!(
        counts(&world, world.carol).await,
        (1, 0),
        "carol has read the recalled message"
    );
    recall(&world, Seq(2)).await;
    assert_eq!(counts(&world, world.bob).await, (0, 0));
    assert_eq!(counts(&world, world.carol).await, (0, 0));
}

pub async fn mention_counts_once(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let every_member = UserId(0);
    world
        .say(vec![NewEvent::message("@bob @all @bob").mentioning(&[
            world.bob,
            every_member,
            world.bob,
        ])])
        .await;
    world
        .say(vec![NewEvent::message("@bob").mentioning(&[world.bob])])
        .await;
    assert_eq!(counts(&world, world.bob).await, (2, 2));
    assert_eq!(counts(&world, world.carol).await, (2, 1));
    read_to(&world, world.bob, Seq(1)).await;
    assert_eq!(counts(&world, world.bob).await, (1, 1));
}

pub async fn mentions_of_all_members_count(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world.say(messages(1)).await;
    world
        .say(vec![NewEvent::message("@all").mentioning(&[UserId(0)])])
        .await;
    put_member(
        &*world.store,
        Member::active(world.group, UserId(50), Role::Member, Seq(3)),
    )
    .await;
    assert_eq!(counts(&world, world.carol).await, (2, 1));
    assert_eq!(counts(&world, UserId(50)).await, (0, 0));
    // Mentions in other conversations do not count.
    append(
        &*world.store,
        world.direct,
        world.alice,
        vec![NewEvent::message("hi").mentioning(&[world.bob])],
    )
    .await
    .unwrap();
    assert_eq!(counts(&world, world.bob).await, (2, 1));
}

pub async fn memberships_name_the_peer_of_a_direct_conversation(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    append(&*world.store, world.direct, world.alice, messages(2))
        .await
        .unwrap();
    world
        .store
        .advance_cursors(&[(world.bob, device_id(1), world.direct, Seq(2))])
        .await
        .unwrap();
    let of = async |user| {
        world
            .store
            .membership(user, device_id(1), world.direct)
            .await
            .unwrap()
            .unwrap()
    };
    let (alice, bob) = (of(world.alice).await, of(world.bob).await);
    assert_eq!(alice.peer.as_ref(), Some(&bob.member));
    assert_eq!(bob.peer.as_ref(), Some(&alice.member));
    assert_eq!(bob.member.delivered_seq, Seq(2));
    assert_eq!(world.membership(world.alice).await.peer, None);
    // A conversation of a user with themselves has no peer.
    let notes = super::fixture::without_group(crate::model::ConversationKind::direct(world.alice, world.alice));
    let notes = super::fixture::create(&*world.store, notes).await.unwrap();
    put_member(&*world.store, Member::active(notes, world.alice, Role::Member, Seq(1))).await;
    let membership = world
        .store
        .membership(world.alice, device_id(1), notes)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(membership.peer, None);
}

async fn memberships(world: &World, user: UserId) -> Vec<MembershipView> {
    let mut memberships = world
        .store
        .memberships(user, device_id(1), ConversationId(0), u32::MAX)
        .await
        .unwrap();
    memberships.sort_by_key(|membership| membership.conversation.id);
    memberships
}

pub async fn memberships_contain_readable_conversations(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world.say(messages(4)).await;
    let found = memberships(&world, world.bob).await;
    assert_eq!(found.len(), 2);
    for membership in found {
        let alone = world
            .store
            .membership(world.bob, device_id(1), membership.conversation.id)
            .await
            .unwrap();
        assert_eq!(alone, Some(membership));
    }
    assert_eq!(memberships(&world, world.carol).await.len(), 1);
    leave(&world, world.carol, Seq(2)).await;
    assert_eq!(memberships(&world, world.carol).await.len(), 1);
    let invited = UserId(50);
    let mut member = Member::active(world.group, invited, Role::Member, Seq::ZERO);
    member.state = MemberState::Invited;
    put_member(&*world.store, member).await;
    assert_eq!(memberships(&world, invited).await, []);
    assert_eq!(
        world
            .store
            .membership(invited, device_id(1), world.group)
            .await
            .unwrap(),
        None
    );
    // The user joined at event 5 and left before it was sent, so no event was ever readable.
    let mut member = Member::active(world.group, UserId(51), Role::Member, Seq(5));
    member.state = MemberState::Left;
    member.until_seq = Some(Seq(4));
    put_member(&*world.store, member).await;
    assert_eq!(memberships(&world, UserId(51)).await, []);
    assert_eq!(memberships(&world, UserId(99)).await, []);
}

/// Successive pages contain the same memberships as the whole list, by ascending conversation id,
/// and skip conversations of which the user may read nothing.
pub async fn memberships_come_in_pages(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let bob = world.bob;
    for n in 0..7 {
        let id = create(&*world.store, new_group(&format!("group {n}"))).await.unwrap();
        let mut member = Member::active(id, bob, Role::Member, Seq(1));
        if n % 3 == 0 {
            (member.state, member.first_seq) = (MemberState::Invited, Seq::ZERO);
        }
        put_member(&*world.store, member).await;
    }
    world.say(messages(3)).await;
    let mut all = memberships(&world, bob).await;
    all.sort_by_key(|membership| membership.conversation.id);
    assert_eq!(all.len(), 6);
    for limit in 1..=7 {
        let (mut after, mut found) = (ConversationId(0), Vec::new());
        loop {
            let page = world.store.memberships(bob, device_id(1), after, limit).await;
            let mut page = page.unwrap();
            page.sort_by_key(|membership| membership.conversation.id);
            let is_last = page.len() < limit as usize;
            found.extend(page);
            after = found.last().map_or(after, |last| last.conversation.id);
            if is_last {
                break;
            }
        }
        assert_eq!(found, all, "{limit}");
    }
    let beyond = ConversationId(u64::MAX);
    let page = world.store.memberships(bob, device_id(1), beyond, 10).await;
    assert_eq!(page.unwrap(), []);
}

pub async fn empty_conversation_has_a_membership(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    for membership in memberships(&world, world.alice).await {
        assert_eq!(
            (membership.unread, membership.unread_mentions, membership.cursor),
            (0, 0, Seq::ZERO)
        );
        assert_eq!(membership.conversation.last_seq, Seq::ZERO);
    }
    assert_eq!(memberships(&world, world.alice).await.len(), 2);
}

/// Reference model of the counts, to which the answers of the store are compared.
#[derive(Default)]
struct Model {
    /// For each event of the log: `true` if it is a message that was not recalled, and the users
    /// whom it mentions.
    log: Vec<(bool, BTreeSet<UserId>)>,
}

impl Model {
    /// Returns the numbers of unread messages and of unread mentions that the member must have.
    fn counts(&self, member: &Member) -> (u64, u64) {
        let readable = (1..).map(Seq).zip(&self.log);
        let unread = readable.filter(|(seq, _)| member.may_read(*seq) && *seq > member.read_seq);
        let mut counts = (0, 0);
        for (_, (is_message, mentions)) in unread {
            counts.0 += u64::from(*is_message);
            counts.1 += u64::from(mentions.contains(&member.user) || mentions.contains(&UserId(0)));
        }
        counts
    }
}

pub async fn counts_are_exact(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let users = [world.alice, world.bob, world.carol];
    let mut rng = SeededRng::new(0x5eed);
    let mut model = Model::default();
    for step in 0..250 {
        let user = users[rng.below(3) as usize];
        let last = Seq(model.log.len() as u64);
        match rng.below(10) {
            0..=4 => {
                let kinds = [
                    EventKind::Message,
                    EventKind::Message,
                    EventKind::Reaction,
                    EventKind::MemberMuted,
                ];
                let kind = kinds[rng.below(4) as usize];
                let every_member = [UserId(0)];
                let mentioned = users.iter().chain(&every_member).filter(|_| rng.below(3) == 0).copied();
                let mentioned: BTreeSet<_> = mentioned.filter(|_| kind == EventKind::Message).collect();
                let mention_list: Vec<_> = mentioned.iter().copied().collect();
                world
                    .say(vec![NewEvent::of(kind, None).mentioning(&mention_list)])
                    .await;
                model.log.push((kind == EventKind::Message, mentioned));
            }
            5 if last > Seq::ZERO => {
                let target = Seq(1 + rng.below(last.0));
                recall(&world, target).await;
                model.log[target.0 as usize - 1] = (false, BTreeSet::new());
                model.log.push((false, BTreeSet::new()));
            }
            6 => {
                if world.member(user).await.is_active() {
                    leave(&world, user, last).await;
                }
            }
            7 => {
                if !world.member(user).await.is_active() {
                    let member = Member::active(world.group, user, Role::Member, last.next());
                    put_member(&*world.store, member).await;
                }
            }
            _ => read_to(&world, user, Seq(rng.below(last.0 + 2))).await,
        }
        for user in users {
            let member = world.member(user).await;
            let membership = world.store.membership(user, device_id(1), world.group).await.unwrap();
            let counted = membership.map_or((0, 0), |membership| (membership.unread, membership.unread_mentions));
            assert_eq!(counted, model.counts(&member), "step {step}, {member:?}");
        }
    }
    for user in users {
        let found = memberships(&world, user)
            .await
            .into_iter()
            .find(|membership| membership.conversation.id == world.group);
        assert_eq!(
            found,
            world.store.membership(user, device_id(1), world.group).await.unwrap()
        );
    }
}
