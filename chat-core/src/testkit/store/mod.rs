//! The contract of [`Store`](crate::store::Store) as code: every store passes all of it.
//!
//! ```text
//! async fn fresh() -> (MyStore, TempDir) { /* an empty store, and what to drop once it is gone */ }
//! chat_core::store_conformance!(fresh());
//! ```
//!
//! A case says in its name what it asks for; it panics if it does not get it.

#![allow(clippy::unwrap_used)] // these are tests

#[allow(missing_docs)]
pub mod accounts;
#[allow(missing_docs)]
pub mod cancellation;
#[allow(missing_docs)]
pub mod concurrency;
#[allow(missing_docs)]
pub mod contacts;
#[allow(missing_docs)]
pub mod conversations;
#[allow(missing_docs)]
pub mod counts;
#[allow(missing_docs)]
pub mod cursors;
mod faulty;
#[allow(missing_docs)]
pub mod feeds;
mod fixture;
#[allow(missing_docs)]
pub mod heartbeats;
#[allow(missing_docs)]
pub mod members;
#[allow(missing_docs)]
pub mod messages;
#[allow(missing_docs)]
pub mod operators;
#[allow(missing_docs)]
pub mod pages;
#[allow(missing_docs)]
pub mod text;
#[allow(missing_docs)]
pub mod units;

pub use faulty::{FaultyStore, Held};
pub use fixture::{Draft, World, act, append, append_to, new_account};

/// Makes a `#[tokio::test]` of every case. The argument is an expression that yields, each time it
/// is evaluated, a future of an empty store and a guard; the guard is dropped after the store. The
/// calling crate needs tokio with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! store_conformance {
    ($fresh:expr) => {
        $crate::store_conformance! { @cases $fresh;
            accounts:
                created_account_reads_back, unknown_account_is_none, taken_name_is_refused_and_the_transaction_goes_on,
                taken_skeleton_is_refused, ids_grow_from_one, names_compare_byte_by_byte,
                update_replaces_all_but_the_name, update_of_an_unknown_account_is_an_error,
                renaming_frees_the_old_name_of_an_account, renaming_an_account_to_a_taken_name_is_refused,
                subjects_compare_byte_by_byte, taken_subject_is_refused, accounts_without_a_subject_do_not_collide,
                accounts_finds_those_that_exist, search_finds_a_prefix_by_name, search_takes_no_character_as_special,
                search_leaves_out_the_disabled_and_stops_at_its_limit, device_reads_back, devices_come_oldest_first,
                devices_in_finds_those_that_exist, deleting_a_device_deletes_its_cursors,
                a_transaction_reads_its_own_writes;
            contacts:
                the_sides_of_a_relation_are_two_rows, contacts_come_by_peer, friends_are_friends_only,
                a_side_is_replaced_and_deleted, requests_since_counts_requests_from_then_on,
                related_users_have_a_relation_on_either_side;
            conversations:
                a_direct_conversation_is_made_once, notes_to_self_are_not_the_inbox, an_inbox_is_made_once,
                a_group_name_is_unique, a_group_skeleton_is_unique, a_refused_creation_lets_the_transaction_go_on,
                a_profile_reads_back, closing_frees_name_and_skeleton, reopening_under_a_taken_name_is_refused,
                renaming_to_a_taken_name_is_refused, renaming_frees_the_old_name, update_keeps_the_kind,
                update_without_the_lock_is_an_error, group_keys_compare_byte_by_byte,
                search_finds_open_listed_groups, last_seqs_tells_of_those_that_exist,
                an_unknown_conversation_is_nowhere;
            members:
                a_place_reads_back, marks_never_go_down, members_come_in_pages, members_in_finds_those_who_have_a_place,
                members_with_role_are_active_and_ranked, advance_read_moves_active_members_up,
                group_count_counts_open_groups_one_is_active_in, leaving_and_rejoining_moves_the_interval;
            messages:
                an_event_reads_back_whole, a_hole_is_refused, a_wrong_message_count_is_refused,
                appending_without_the_lock_is_refused, a_row_that_disagrees_with_its_log_is_refused,
                find_sent_finds_what_was_sent, a_client_message_id_belongs_to_its_sender,
                a_used_client_message_id_is_refused, events_are_ranges, events_at_finds_those_that_exist,
                an_edit_is_marked, marking_an_unknown_event_is_an_error, erasing_replaces_message_and_edits,
                erasing_leaves_no_text_anywhere, a_batch_is_one_unit, a_unit_spans_conversations;
            text:
                messages_keep_every_byte, names_and_notes_keep_every_byte, profiles_keep_every_byte;
            pages:
                after_goes_up, before_goes_down, newest_is_the_end, an_empty_log_has_an_empty_page,
                max_events_ends_a_page, max_bytes_ends_a_page, an_event_too_large_comes_alone,
                walking_up_meets_every_event_once, walking_down_meets_every_event_once,
                nothing_before_first_seq, nothing_after_until_seq, never_a_member_is_none,
                places_beyond_every_end_are_empty;
            cursors:
                a_cursor_only_grows, a_cursor_moves_the_delivered_mark, each_device_has_its_own,
                places_beyond_the_log_are_ignored, strangers_are_ignored, unknown_devices_are_ignored,
                who_left_moves_up_to_where_they_left, reads_only_grow, reads_beyond_the_log_are_ignored,
                many_moves_are_one_call;
            counts:
                unread_counts_messages_only, read_marks_end_the_count, who_left_counts_up_to_where_they_left,
                a_recalled_message_stays_unread_but_mentions_nobody, a_mention_counts_once,
                mentions_of_everybody_count, heads_name_the_peer_of_a_direct_conversation,
                heads_hold_what_may_be_read, an_empty_conversation_has_a_head, counts_are_exact;
            units:
                a_refusal_leaves_nothing, a_store_error_leaves_nothing, a_panic_leaves_nothing_and_is_contained,
                every_kind_of_write_is_taken_back,
                what_is_not_committed_is_not_seen, run_hands_out_the_result, run_hands_out_the_refusal,
                locks_out_of_order_are_refused, own_conversations_may_be_locked_at_any_time,
                the_epoch_stays, ping_succeeds_on_an_open_store, a_closed_store_is_unavailable, closing_finishes_what_was_begun;
            feeds:
                feed_cursor_only_grows, backlog_finds_conversations_beyond_the_cursors,
                lease_excludes_other_nodes_until_released, expired_lease_goes_to_another_node,
                second_claim_of_a_node_fences_off_the_first, feed_leases_lists_live_leases,
                deleting_a_feed_deletes_cursors_and_leases, shard_is_claimed_by_one_of_many,
                conversations_lock_before_feeds;
            operators:
                accounts_are_listed_in_pages_by_name, groups_are_listed_with_whether_they_have_an_owner,
                stats_count_rows, audit_log_is_read_in_both_directions, rolled_back_actions_leave_no_audit_record,
                members_of_user_come_in_pages_in_every_state, events_by_sender_are_those_of_one_user;
            heartbeats:
                nodes_see_each_other_or_nobody_does, beating_again_changes_nothing, a_clock_of_its_own_goes_forward;
            concurrency:
                many_appenders_leave_no_hole, readers_never_see_a_hole, a_name_is_given_once,
                a_direct_conversation_is_made_once_by_many, device_locks_exclude, contact_locks_exclude,
                a_retry_race_stores_one_event, failing_units_do_not_harm_others, cursors_of_many_tasks_end_at_the_greatest,
                a_page_and_its_member_are_of_one_snapshot, heads_are_of_one_snapshot;
            cancellation:
                dropped_units_happen_wholly_or_not_at_all, dropped_reads_never_mix_answers,
                dropped_cursor_moves_do_no_harm, a_dropped_unit_does_not_block_the_next;
        }
    };
    (@cases $fresh:expr; $($family:ident: $($case:ident),+;)+) => {
        $(mod $family {
            #[allow(unused_imports)]
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let (store, guard) = $fresh.await;
                $crate::testkit::store::$family::$case(std::sync::Arc::new(store)).await;
                drop(guard);
            })+
        })+
    };
}
