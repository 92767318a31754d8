-- A group as it was when each of its former members left. The profile and the member count are not
-- known for members who left before this migration, so their rows hold those at the time of the
-- migration. The last_time of these rows is the time of the last event that the member may read.
-- Every statement may run again.

CREATE TABLE IF NOT EXISTS group_snapshot (
    conversation_id BIGINT          NOT NULL,
    user_id         BIGINT          NOT NULL,
    name            VARBINARY(256)  NOT NULL,
    name_key        VARBINARY(256)  NOT NULL,
    skeleton        VARBINARY(3000) NOT NULL,
    description     TEXT            NOT NULL,
    join_policy     TINYINT         NOT NULL,
    history_visible BOOLEAN         NOT NULL,
    unlisted        BOOLEAN         NOT NULL,
    member_count    INT             NOT NULL,
    last_time       BIGINT          NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) ENGINE = InnoDB, CHARACTER SET utf8mb4, COLLATE utf8mb4_bin;

INSERT IGNORE INTO group_snapshot (conversation_id, user_id, name, name_key, skeleton, description, join_policy,
                            history_visible, unlisted, member_count, last_time)
SELECT m.conversation_id, m.user_id, g.name, g.name_key, g.skeleton, g.description, g.join_policy,
       g.history_visible, g.unlisted, c.member_count, IFNULL(e.time, c.last_time)
FROM member AS m
JOIN conversation AS c ON c.id = m.conversation_id
JOIN group_profile AS g ON g.conversation_id = m.conversation_id
LEFT JOIN event AS e ON e.conversation_id = m.conversation_id AND e.seq = m.until_seq
WHERE m.until_seq IS NOT NULL;
