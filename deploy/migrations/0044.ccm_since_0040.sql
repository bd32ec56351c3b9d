-- depends: 0040.ccm
-- 0040 was extended after some installations had applied it: what they lack is added here; elsewhere nothing changes.

-- From a reading forward to the moves and the minutes that acted on it.
CREATE INDEX IF NOT EXISTS episode_move_readings_idx ON ccm.episode_move USING gin (readings);
CREATE INDEX IF NOT EXISTS time_entry_readings_idx ON ccm.time_entry USING gin (readings);

-- The order of telling, also within one instant. Rows of before are numbered in the order in which they were written.
ALTER TABLE ccm.task_move ADD COLUMN IF NOT EXISTS n bigint GENERATED ALWAYS AS IDENTITY;
DROP INDEX IF EXISTS ccm.task_move_task_id_at_idx;
CREATE INDEX IF NOT EXISTS task_move_task_id_n_idx ON ccm.task_move (task_id, n);
