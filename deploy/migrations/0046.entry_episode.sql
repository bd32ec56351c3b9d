-- depends: 0045.ccm_letters
-- An entry may say which alert it acted on without a task in between: a call that was settled and logged in one motion.
-- Rows of before have none, and their hashes stand: a column that came later is sealed only where it says something.
ALTER TABLE ccm.time_entry ADD COLUMN episode_id uuid;
CREATE INDEX time_entry_episode_idx ON ccm.time_entry (episode_id) WHERE episode_id IS NOT NULL;
