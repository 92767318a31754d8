-- Rotation of the session token of a device. A row counts only while `token` is the session_token
-- of the device. The replaced token stays valid until `token` is used. Each time that the
-- replaced token is presented, the reply contains another new token: `token` is the latest of
-- them, and `sibling` the one before, which stays valid too, because its reply may be the one that
-- arrived.
-- Every statement may run again.

CREATE TABLE IF NOT EXISTS session_token (
    user_id   BIGINT     NOT NULL,
    device_id BINARY(16) NOT NULL,
    token     BINARY(32) NOT NULL,
    issued    BIGINT     NOT NULL,
    replaced  BINARY(32),
    sibling   BINARY(32),
    PRIMARY KEY (user_id, device_id)
) ENGINE = InnoDB;
