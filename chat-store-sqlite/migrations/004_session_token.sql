-- Rotation of the session token of a device. A row counts only while `token` is the session_token
-- of the device. The replaced token stays valid until `token` is used. Each time that the
-- replaced token is presented, the reply contains another new token: `token` is the latest of
-- them, and `sibling` the one before, which stays valid too, because its reply may be the one that
-- arrived.
CREATE TABLE session_token (
    user_id   INTEGER NOT NULL,
    device_id BLOB    NOT NULL,
    token     BLOB    NOT NULL,
    issued    INTEGER NOT NULL,
    replaced  BLOB,
    sibling   BLOB,
    PRIMARY KEY (user_id, device_id)
) STRICT, WITHOUT ROWID;
