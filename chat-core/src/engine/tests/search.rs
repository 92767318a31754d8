//! Tests of searches by id and by name.

use super::support::*;
use crate::commands::Commands;
use crate::model::*;

#[tokio::test]
async fn user_found_by_id_and_name_is_listed_once() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    let next = id(&alice).0 + 1;
    let bob = register(&engine, &format!("{next}bob")).await;
    assert_eq!(bob, UserId(next));
    let robin = register(&engine, &format!("{next}robin")).await;
    let found = alice.search_users(&next.to_string(), 10).await.unwrap();
    assert_eq!(found.iter().map(|user| user.id).collect::<Vec<_>>(), [bob, robin]);
}

#[tokio::test]
async fn group_found_by_id_and_name_is_listed_once() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    let next = create_group(&alice, "first").await.0 + 1;
    let monkeys = create_group(&alice, &format!("{next} monkeys")).await;
    assert_eq!(monkeys, ConversationId(next));
    let nuts = create_group(&alice, &format!("{next} nuts")).await;
    let found = alice.search_groups(&next.to_string(), 10).await.unwrap();
    assert_eq!(found.iter().map(|group| group.id).collect::<Vec<_>>(), [monkeys, nuts]);
}
