//! Conformance suite of [`Store`](crate::store::Store): every store has to pass all cases.
//!
//! ```text
//! // Returns an empty store, and a guard (such as its directory) to drop after the store.
//! async fn fresh() -> (MyStore, TempDir) { /* … */ }
//! chat_core::store_conformance!(fresh());
//! ```
//!
//! The name of a case states the required behaviour. A case panics if the store behaves
//! differently.

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
#[allow(missing_docs)]
pub mod engine;
mod faulty;
#[allow(missing_docs)]
pub mod feeds;
mod fixture;
#[allow(missing_docs)]
pub mod heartbeats;
#[allow(missing_docs)]
pub mod instance;
#[allow(missing_docs)]
pub mod members;
#[allow(missing_docs)]
pub mod messages;
#[allow(missing_docs)]
pub mod operators;
#[allow(missing_docs)]
pub mod pages;
#[allow(missing_docs)]
pub mod request_notices;
#[allow(missing_docs)]
pub mod text;
#[allow(missing_docs)]
pub mod units;
#[allow(missing_docs)]
pub mod user_changes;

pub use faulty::{FaultyStore, HoldGuard};
pub use fixture::{
    NewEvent, World, append, append_edited_messages, append_to, create_direct_conversations, new_account, register,
    transact,
};

/// Defines a `#[tokio::test]` for every case. The argument is an expression that yields, each time
/// it is evaluated, a future of an empty store and a guard (such as the directory of the store);
/// the guard is dropped after the store. The calling crate needs tokio with `macros` and
/// `rt-multi-thread`.
#[macro_export]
macro_rules! store_conformance {
    ($fresh:expr) => {
        $crate::store_conformance! { @cases $fresh;
            accounts:
                created_account_reads_back, unknown_account_is_none, taken_name_is_rejected_and_the_transaction_continues,
                taken_skeleton_is_rejected, account_ids_grow, names_compare_byte_by_byte,
                update_keeps_name_skeleton_subject_and_creation_time, update_of_an_unknown_account_is_an_error,
                renaming_frees_the_old_name_of_an_account, renaming_an_account_to_a_taken_name_is_rejected,
                subjects_compare_byte_by_byte, taken_subject_is_rejected, accounts_without_a_subject_do_not_collide,
                accounts_finds_those_that_exist, search_finds_names_by_prefix_in_order, search_takes_no_character_as_special,
                search_leaves_out_disabled_accounts_and_stops_at_its_limit, device_reads_back, devices_are_ordered_oldest_first,
                devices_in_finds_those_that_exist, deleting_a_device_deletes_its_cursors,
                transaction_reads_its_own_writes;
            contacts:
                relation_has_a_row_for_each_side, contacts_are_listed_in_pages_ordered_by_peer, friends_returns_only_contacts_in_state_friend,
                contact_is_replaced_and_deleted, requests_since_counts_requests_at_or_after_the_time,
                blocked_count_counts_the_users_whom_the_owner_blocked,
                incoming_request_count_counts_open_requests_up_to_the_maximum,
                related_users_have_a_relation_on_either_side, contacts_between_returns_both_sides;
            conversations:
                direct_conversation_is_created_once, notes_to_self_are_not_the_inbox, inbox_is_created_once,
                group_name_is_unique, named_group_has_the_membership_of_the_user, group_skeleton_is_unique, transaction_continues_after_a_rejected_creation,
                profile_reads_back, deletion_frees_name_and_skeleton, restoring_a_deleted_group_with_a_taken_name_is_rejected,
                renaming_to_a_taken_name_is_rejected, renaming_frees_the_old_name, update_keeps_the_kind,
                update_without_the_lock_is_an_error, group_keys_compare_byte_by_byte,
                search_finds_existing_listed_groups, log_versions_returns_only_conversations_that_exist,
                unknown_conversation_is_not_found;
            members:
                member_reads_back, delivered_and_read_marks_never_decrease, members_are_listed_in_pages, members_in_finds_existing_members,
                members_with_role_returns_active_members_of_at_least_that_role, members_by_seniority_leaves_out_disabled_accounts,
                snapshot_of_a_former_member_stays_as_written, snapshot_without_the_lock_is_an_error,
                advance_read_advances_active_members,
                group_count_counts_existing_groups_in_which_the_user_is_active,
                former_group_count_counts_readable_groups_in_which_the_user_is_not_active, leaving_and_rejoining_moves_the_readable_range;
            messages:
                event_reads_back, gap_is_rejected, wrong_message_count_is_rejected,
                appending_without_the_lock_is_rejected, row_that_disagrees_with_its_log_is_rejected,
                find_sent_finds_sent_events, client_message_id_belongs_to_its_sender,
                used_client_message_id_is_rejected, events_returns_ranges, events_at_finds_those_that_exist,
                edit_is_marked, marking_an_unknown_event_is_an_error, erasing_replaces_message_and_edits,
                erasing_leaves_no_readable_text, batch_is_one_unit, unit_spans_conversations;
            text:
                messages_keep_every_byte, names_and_notes_keep_every_byte, group_profiles_keep_every_byte;
            pages:
                page_after_an_event_goes_forwards, page_before_an_event_goes_backwards,
                newest_page_ends_at_the_end_of_the_log, empty_log_has_an_empty_page,
                max_events_ends_a_page, max_bytes_ends_a_page, edits_count_towards_max_bytes,
                page_contains_the_edits_that_its_reader_may_read, oversized_event_is_returned_alone,
                long_pages_are_complete, forward_pages_contain_every_event_once, backward_pages_contain_every_event_once,
                page_contains_nothing_before_first_seq, page_contains_nothing_after_until_seq, page_is_none_for_a_user_who_was_never_a_member,
                pages_may_start_beyond_the_ends_of_the_log;
            cursors:
                cursor_only_grows, cursor_advances_the_delivered_mark, devices_have_separate_cursors,
                cursor_beyond_the_log_moves_to_its_end, cursors_of_non_members_are_ignored, cursors_of_unknown_devices_are_ignored,
                cursor_of_a_former_member_ends_at_until_seq, read_marks_only_grow, read_marks_beyond_the_log_move_to_its_end,
                one_call_takes_many_moves;
            counts:
                unread_counts_messages_only, unread_count_starts_after_the_read_mark, counts_of_a_former_member_end_at_until_seq,
                recalled_message_counts_no_longer, mention_counts_once,
                mentions_of_all_members_count, memberships_name_the_peer_of_a_direct_conversation,
                memberships_contain_readable_conversations, memberships_come_in_pages, empty_conversation_has_a_membership, counts_are_exact;
            units:
                aborted_unit_leaves_no_writes, store_error_leaves_no_writes, panic_is_caught_and_leaves_no_writes,
                contract_violation_leaves_no_writes,
                uncommitted_writes_are_invisible, run_returns_the_result, run_returns_the_rejection,
                locks_out_of_order_are_rejected, created_conversations_may_be_locked_at_any_time;
            instance:
                epoch_is_stable, cluster_key_is_stable, ping_succeeds_on_an_open_store,
                newest_event_time_is_the_latest_of_all_conversations, time_of_day_agrees_with_heartbeats,
                closed_store_is_unavailable, units_complete_or_fail_while_the_store_closes;
            feeds:
                feed_cursor_only_grows, backlog_finds_logs_that_continue_beyond_the_cursors,
                lease_excludes_other_nodes_until_released, expired_lease_goes_to_another_node,
                second_claim_of_a_node_fences_off_the_first, feed_leases_lists_live_leases,
                deleting_a_feed_deletes_cursors_and_leases, shard_is_claimed_by_one_of_many,
                conversations_are_locked_before_feeds;
            request_notices:
                repeated_notice_is_recorded_once_in_an_interval, deleting_all_notices_of_an_inbox_forgets_them,
                deleted_notice_does_not_count, notices_of_other_requests_are_recorded,
                rolled_back_notice_is_not_recorded, recording_a_notice_without_the_lock_is_an_error;
            operators:
                accounts_are_listed_in_pages_by_name, group_list_says_which_groups_have_an_owner,
                stats_count_rows, audit_log_is_read_in_both_directions, audit_log_grows_at_its_end_only, rolled_back_actions_leave_no_audit_record,
                members_of_user_come_in_pages_and_include_bans, events_by_sender_returns_events_of_that_user_only;
            heartbeats:
                heartbeats_return_all_peers_or_none, repeated_heartbeat_changes_nothing, store_clock_never_goes_backwards;
            user_changes:
                writes_of_devices_and_memberships_record_a_change_of_their_user, aborted_change_of_a_user_is_not_recorded;
            concurrency:
                concurrent_appends_leave_no_gap, readers_never_see_a_gap, account_name_is_taken_once_by_many,
                direct_conversation_is_created_once_by_many, device_locks_exclude_each_other,
                account_changes_under_the_device_lock_lose_nothing, contact_locks_exclude_each_other,
                requests_under_the_lock_of_the_inbox_are_counted,
                concurrent_retries_store_one_event, failing_units_do_not_affect_others, concurrent_cursors_end_at_the_greatest,
                page_and_member_come_from_one_snapshot, memberships_come_from_one_snapshot;
            cancellation:
                dropped_units_commit_completely_or_not_at_all, dropped_reads_do_not_answer_later_reads,
                dropped_cursor_moves_leave_a_valid_cursor, dropped_unit_does_not_block_the_next;
            engine:
                former_members_see_the_group_as_they_left_it,
                hundred_simultaneous_first_messages_reach_every_session_of_the_recipient,
                session_survives_lost_replies_to_resumes;
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
