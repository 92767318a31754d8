-- Recalled messages, which do not count as unread. Messages are the events of kind 16.
CREATE TABLE recalled_message (
    conversation_id INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, seq)
) STRICT, WITHOUT ROWID;

INSERT INTO recalled_message (conversation_id, seq)
SELECT conversation_id, seq FROM event WHERE recalled_seq IS NOT NULL AND kind = 16;
