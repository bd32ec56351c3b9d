-- depends: 0032.pages
-- What was promised when: every transition keeps the instant its episode came into the queue and when somebody
-- should have come, so that reports judge by the same clock as the queue and by the targets that held then.

ALTER TABLE alerts.transition ADD COLUMN since timestamptz;   -- NULL: written before this column was there
ALTER TABLE alerts.transition ADD COLUMN due_at timestamptz;
