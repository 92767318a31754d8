-- Finds the friends and the open friend requests of a user without reading the other contacts.
-- Every statement may run again: a migration ignores that a key exists already.

ALTER TABLE contact ADD KEY contact_state (owner_id, state);
