-- depends: 0031.absence
-- Escalation: whom to call when nobody comes, and every call that was made. The key makes a call one call.

-- A practice's chain: so long after an episode of this severity came into the queue, call there; again every so often.
CREATE TABLE alerts.rung (
    rung_id uuid PRIMARY KEY,
    practice_id int NOT NULL REFERENCES who.practice,
    severity text NOT NULL CHECK (severity IN ('watch', 'high', 'critical')),
    wait_minutes int NOT NULL CHECK (wait_minutes BETWEEN 0 AND 10080),
    repeat_minutes int CHECK (repeat_minutes BETWEEN 5 AND 10080),
    channel text NOT NULL CHECK (channel IN ('email', 'webhook')),
    target text NOT NULL,
    added_at timestamptz NOT NULL,
    added_by uuid NOT NULL,
    ended_at timestamptz,                     -- a rung is ended, never changed
    UNIQUE (practice_id, rung_id),
    FOREIGN KEY (practice_id, added_by) REFERENCES who.staff (practice_id, staff_id)
);

CREATE TABLE alerts.page (
    episode_id uuid NOT NULL,
    times int NOT NULL,                       -- which coming of the episode
    rung_id uuid NOT NULL,
    nth int NOT NULL,                         -- 0, then once per repeat
    practice_id int NOT NULL,
    made_at timestamptz NOT NULL,
    tries int NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL,
    sent_at timestamptz,
    given_up boolean NOT NULL DEFAULT false,  -- somebody came before it could be sent
    failure text,                             -- class of the last failure, never its text
    PRIMARY KEY (episode_id, times, rung_id, nth),  -- the idempotency key that receivers are given
    FOREIGN KEY (practice_id, episode_id) REFERENCES alerts.episode (practice_id, episode_id),
    FOREIGN KEY (practice_id, rung_id) REFERENCES alerts.rung (practice_id, rung_id)
);
CREATE INDEX ON alerts.page (next_try_at) WHERE sent_at IS NULL AND NOT given_up;

CALL who.protect('alerts.rung');
CALL who.protect('alerts.page');
GRANT SELECT ON alerts.rung TO lamplight_pipeline;
GRANT SELECT, INSERT, UPDATE (ended_at) ON alerts.rung TO lamplight_web;
GRANT SELECT, INSERT, UPDATE ON alerts.page TO lamplight_pipeline;
GRANT SELECT ON alerts.page TO lamplight_web;
