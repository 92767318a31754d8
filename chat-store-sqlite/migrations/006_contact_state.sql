-- Finds the friends and the open friend requests of a user without reading the other contacts.
CREATE INDEX contact_state ON contact (owner_id, state);
