-- depends: 0039.demo_duty
-- Calls to one person that come due together go out as one notification: which one, why, to whom and since when.

ALTER TABLE alerts.page ADD COLUMN notification text;         -- the key of the call that leads; NULL: not tried yet, or tried before there were any
ALTER TABLE alerts.page ADD COLUMN why text;                  -- alerts.notification.Why: why it went out then, or that it joined
ALTER TABLE alerts.page ADD COLUMN person uuid;               -- who was on call then; NULL: the rung names an address or a role
ALTER TABLE alerts.page ADD COLUMN gathered_at timestamptz;   -- first tried: the practice's window runs from here
CREATE INDEX ON alerts.page (gathered_at);
CREATE INDEX ON alerts.page (notification);
