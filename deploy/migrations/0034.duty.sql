-- depends: 0033.clock
-- What a practice promises and who answers: its policy, version by version, and the on-call rota.

-- Response targets, service hours, holidays. The newest version holds; every older one stays, with who and why.
CREATE TABLE alerts.policy_version (
    practice_id int NOT NULL REFERENCES who.practice,
    version int NOT NULL CHECK (version >= 1),  -- what a change expects to find, plus one
    at timestamptz NOT NULL,
    by uuid NOT NULL,
    by_name text NOT NULL,
    why text NOT NULL,
    content jsonb NOT NULL,                   -- alerts.policy.Policy
    PRIMARY KEY (practice_id, version),
    FOREIGN KEY (practice_id, by) REFERENCES who.staff (practice_id, staff_id)
);
CALL who.protect('alerts.policy_version');
GRANT SELECT ON alerts.policy_version TO lamplight_pipeline;
GRANT SELECT, INSERT ON alerts.policy_version TO lamplight_web;
CALL who.append_only('alerts.policy_version');

-- Who is on call. A shift is ended, never changed; a swap ends one and adds others that name it.
CREATE TABLE alerts.shift (
    shift_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    staff_id uuid NOT NULL,
    staff_name text NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    swap_of uuid,                             -- the shift that this one, or a part of it, took the place of
    added_at timestamptz NOT NULL,
    added_by uuid NOT NULL,
    added_by_name text NOT NULL,
    ended_at timestamptz,                     -- when it was taken off the rota
    ended_by uuid,
    ended_by_name text,
    UNIQUE (practice_id, shift_id),
    CHECK (starts_at < ends_at AND ends_at - starts_at <= interval '14 days'),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL)),
    FOREIGN KEY (practice_id, staff_id) REFERENCES who.staff (practice_id, staff_id),
    FOREIGN KEY (practice_id, added_by) REFERENCES who.staff (practice_id, staff_id),
    FOREIGN KEY (practice_id, ended_by) REFERENCES who.staff (practice_id, staff_id),
    FOREIGN KEY (practice_id, swap_of) REFERENCES alerts.shift (practice_id, shift_id),
    -- one person is on call at a time, whoever writes
    EXCLUDE USING gist (practice_id WITH =, tstzrange(starts_at, ends_at) WITH &&) WHERE (ended_at IS NULL)
);
CALL who.protect('alerts.shift');
GRANT SELECT ON alerts.shift TO lamplight_pipeline;
GRANT SELECT, INSERT, UPDATE (ended_at, ended_by, ended_by_name) ON alerts.shift TO lamplight_web;
