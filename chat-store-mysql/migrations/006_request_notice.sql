-- Requests that were announced in inboxes, and when. group_id is 0 for requests that concern no group.
-- Every statement may run again.

CREATE TABLE IF NOT EXISTS request_notice (
    inbox_id  BIGINT           NOT NULL,
    kind      TINYINT UNSIGNED NOT NULL,
    sender_id BIGINT           NOT NULL,
    group_id  BIGINT           NOT NULL,
    time      BIGINT           NOT NULL,
    PRIMARY KEY (inbox_id, kind, sender_id, group_id),
    KEY request_notice_time (inbox_id, time)
) ENGINE = InnoDB;
