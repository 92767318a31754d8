-- Changes of each user's devices and memberships: their number, and the time of the latest. Nodes
-- that receive no announcements of other nodes read the recent ones.
-- Every statement may run again.

CREATE TABLE IF NOT EXISTS user_change (
    user_id BIGINT NOT NULL PRIMARY KEY,
    number  BIGINT NOT NULL,
    time    BIGINT NOT NULL, -- by the clock of the database
    KEY user_change_time (time)
) ENGINE = InnoDB;
