//! Tests of the query plans: a statement that scans a table would pass every other test.

use rusqlite::Connection;

fn plan(conn: &Connection, sql: &str) -> String {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let lines = statement
        .raw_query()
        .mapped(|row| row.get::<_, String>(3))
        .collect::<Result<Vec<_>, _>>();
    lines.unwrap().join("\n")
}

fn migrated() -> (tempfile::TempDir, Connection) {
    let directory = tempfile::tempdir().unwrap();
    let opened = crate::open::open(directory.path(), &crate::Options::default()).unwrap();
    (directory, opened.writer)
}

/// The statements that are written out here are copies or short forms of those that the store runs.
#[test]
fn statements_use_their_indexes() {
    let (_directory, conn) = migrated();
    let contact = crate::contacts::contact_sql();
    let contacts = crate::contacts::contacts_sql();
    for (sql, index) in [
        (
            "SELECT * FROM event WHERE client_message_id = ?1 AND sender_id = ?2",
            "INDEX event_sent ",
        ),
        (
            "SELECT * FROM event WHERE conversation_id = ?1 AND seq = ?2",
            "INDEX event_seq ",
        ),
        (
            "UPDATE event SET body = ?3 WHERE conversation_id = ?1 AND target = ?2 AND kind = 17",
            "INDEX event_target ",
        ),
        (
            "DELETE FROM mention WHERE conversation_id = ?1 AND seq = ?2",
            "INDEX mention_seq ",
        ),
        (
            "SELECT id FROM conversation WHERE low_id = ?1 AND high_id = ?2 AND kind = ?3",
            "INDEX conversation_kind ",
        ),
        ("SELECT 1 FROM group_profile WHERE open_key = ?1", "INDEX group_key "),
        (
            "SELECT 1 FROM group_profile WHERE open_skeleton = ?1",
            "INDEX group_skeleton ",
        ),
        (contact.as_str(), "PRIMARY KEY (owner_id=? AND peer_id=?)"),
        (contacts.as_str(), "PRIMARY KEY (owner_id=? AND peer_id>?)"),
        (crate::request_notices::DELETE_OLD, "INDEX request_notice_time "),
    ] {
        let plan = plan(&conn, sql);
        assert!(plan.contains(index) && !plan.contains("SCAN"), "{sql}: {plan}");
    }
}

#[test]
fn memberships_query_scans_only_the_memberships_of_the_user() {
    let (_directory, conn) = migrated();
    for condition in ["AND m.conversation_id = ?3", crate::conversations::MEMBERSHIPS_AFTER] {
        let plan = plan(&conn, &crate::conversations::memberships_sql(condition));
        let scans: Vec<_> = plan.lines().filter(|line| line.starts_with("SCAN")).collect();
        // `m` is the subquery that has selected the memberships of the user.
        assert_eq!(scans, ["SCAN m"], "{plan}");
        assert!(
            !plan.contains("TEMP B-TREE FOR ORDER BY"),
            "a page sorts all memberships: {plan}"
        );
    }
}

#[test]
fn query_of_a_named_group_scans_no_table() {
    let (_directory, conn) = migrated();
    let plan = plan(&conn, &crate::conversations::named_group_sql());
    assert!(plan.contains("INDEX group_key ") && !plan.contains("SCAN"), "{plan}");
}

#[test]
fn count_of_contacts_in_a_state_reads_no_other_contacts() {
    let (_directory, conn) = migrated();
    let plan = plan(&conn, crate::contacts::COUNT_IN_STATE);
    assert!(
        plan.contains("COVERING INDEX contact_state (owner_id=? AND state=?)"),
        "{plan}"
    );
}

#[test]
fn partial_index_of_edits_uses_the_number_of_their_kind() {
    let sql = include_str!("../migrations/001_init.sql");
    let edit = chat_core::model::EventKind::Edit as u8;
    assert!(sql.contains(&format!("WHERE kind = {edit};")));
}

#[test]
fn backfill_of_recalled_messages_uses_the_number_of_their_kind() {
    let sql = include_str!("../migrations/003_recalled_message.sql");
    let message = chat_core::model::EventKind::Message as u8;
    assert!(sql.ends_with(&format!("recalled_seq IS NOT NULL AND kind = {message};\n")));
}
