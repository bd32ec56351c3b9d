-- depends: 0035.desk
-- Signing in: an attempt is written down before the password is weighed, so that guesses made at once count each other.

ALTER TABLE who.sign_in_attempt ADD COLUMN attempt_id uuid;
CREATE UNIQUE INDEX ON who.sign_in_attempt (attempt_id);
GRANT UPDATE (succeeded) ON who.sign_in_attempt TO lamplight_web;
