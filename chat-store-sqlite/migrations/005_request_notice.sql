-- Requests that were announced in inboxes, and when. group_id is 0 for requests that concern no group.
CREATE TABLE request_notice (
    inbox_id  INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    sender_id INTEGER NOT NULL,
    group_id  INTEGER NOT NULL,
    time      INTEGER NOT NULL,
    PRIMARY KEY (inbox_id, kind, sender_id, group_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX request_notice_time ON request_notice (inbox_id, time);
