-- Recalled messages, which do not count as unread. Messages are the events of kind 16.
-- Every statement may run again.

CREATE TABLE IF NOT EXISTS recalled_message (
    conversation_id BIGINT NOT NULL,
    seq             BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, seq)
) ENGINE = InnoDB;

INSERT IGNORE INTO recalled_message (conversation_id, seq)
SELECT conversation_id, seq FROM event WHERE recalled_seq IS NOT NULL AND kind = 16;
