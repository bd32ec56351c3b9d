-- depends: 0001.base
-- The alerts room: episodes, every move they made, the evidence, what was said about them, and the readings'
-- numbers as far as a queue row and a timeline show them (so that no screen here asks another room's tables).

-- One concern of one patient. Mutable: its history is alerts.transition.
CREATE TABLE alerts.episode (
    episode_id uuid PRIMARY KEY,              -- computed from patient, concern and first reading: a replay is the same
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    concern text NOT NULL,
    queue text NOT NULL CHECK (queue IN ('clinical', 'adherence', 'technical')),
    state text NOT NULL CHECK (state IN ('waiting', 'claimed', 'escalated', 'handled', 'snoozed', 'closed')),
    severity text NOT NULL CHECK (severity IN ('watch', 'high', 'critical')),
    peak text NOT NULL CHECK (peak IN ('watch', 'high', 'critical')),
    number int NOT NULL CHECK (number >= 1),  -- of the last transition: what a write expects to find
    opened_at timestamptz NOT NULL,
    since timestamptz NOT NULL,               -- came into the queue: notes and claims never reset it
    due_at timestamptz NOT NULL,
    first_reading uuid NOT NULL,
    reason text NOT NULL,
    rule text NOT NULL,
    clears text NOT NULL,
    evidence jsonb NOT NULL,                  -- the numbers behind `reason`
    told_reading uuid NOT NULL,
    told_effective_at timestamptz NOT NULL,
    told_received_at timestamptz NOT NULL,
    newest_at timestamptz NOT NULL,
    readings uuid[] NOT NULL,
    count int NOT NULL,
    calm int NOT NULL,
    calm_since timestamptz,
    milder int NOT NULL,
    milder_peak text NOT NULL CHECK (milder_peak IN ('watch', 'high', 'critical')),
    times int NOT NULL,
    owner uuid,
    owner_name text,                          -- as it was then
    until timestamptz,                        -- end of the lease, the snooze or the rest
    disposition text,
    handled_at timestamptz,
    handled_severity text CHECK (handled_severity IN ('watch', 'high', 'critical')),
    closed_at timestamptz,
    needs_task boolean NOT NULL,
    back text NOT NULL,
    UNIQUE (practice_id, episode_id),
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id),
    FOREIGN KEY (practice_id, owner) REFERENCES who.staff (practice_id, staff_id),
    CHECK ((state = 'claimed') = (owner IS NOT NULL)),
    CHECK ((state = 'closed') = (closed_at IS NOT NULL)),
    CHECK (state NOT IN ('claimed', 'handled', 'snoozed') OR until IS NOT NULL)  -- nothing is held or quiet without an end
);
-- At most one open episode per patient and concern, whoever writes.
CREATE UNIQUE INDEX one_open_episode ON alerts.episode (patient_id, concern) WHERE state <> 'closed';
-- The queue of a practice, and what is overdue in it.
CREATE INDEX episode_due ON alerts.episode (practice_id, due_at) WHERE state IN ('waiting', 'escalated');
CREATE INDEX episode_open ON alerts.episode (practice_id, queue) WHERE state <> 'closed';
-- What may re-open, and a patient's history.
CREATE INDEX episode_closed ON alerts.episode (patient_id, closed_at) WHERE state = 'closed';
-- Leases, snoozes and rests that end.
CREATE INDEX episode_until ON alerts.episode (until) WHERE state IN ('claimed', 'handled', 'snoozed');

-- Every move: who, when, why. Number counts from 1 within the episode; seq is the order of the live stream.
CREATE TABLE alerts.transition (
    episode_id uuid NOT NULL,
    number int NOT NULL CHECK (number >= 1),
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    concern text NOT NULL,
    move text NOT NULL CHECK (move IN ('opened', 'worsened', 'eased', 'reopened', 'claimed', 'handed_back', 'escalated',
                                       'dispositioned', 'closed', 'task_asked', 'snoozed', 'woken')),
    before text,
    after text NOT NULL,
    severity text NOT NULL,
    why text NOT NULL,                        -- the named reason
    reason text NOT NULL,                     -- the sentence
    at timestamptz NOT NULL,
    by uuid,                                  -- NULL: Lamplight itself
    by_name text,
    caused_by uuid NOT NULL,                  -- the score, or the person's action
    disposition text,
    note text NOT NULL,                       -- health data: never leaves the database
    needs_task boolean NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (episode_id, number),
    FOREIGN KEY (practice_id, episode_id) REFERENCES alerts.episode (practice_id, episode_id),
    FOREIGN KEY (practice_id, by) REFERENCES who.staff (practice_id, staff_id),
    CHECK ((number = 1) = (move = 'opened')),
    CHECK ((before IS NULL) = (move = 'opened')),
    CHECK ((by IS NULL) = (by_name IS NULL))
);
CREATE INDEX ON alerts.transition (practice_id, seq);
CREATE INDEX ON alerts.transition (by, at) WHERE by IS NOT NULL;
CREATE INDEX ON alerts.transition (caused_by) WHERE by IS NOT NULL;

-- Every reading that counted in an episode: the chain reading -> score -> episode, and why it moved or did not.
CREATE TABLE alerts.evidence (
    episode_id uuid NOT NULL,
    reading_id uuid NOT NULL,
    score_id uuid NOT NULL,
    practice_id int NOT NULL,
    effective_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    tier text NOT NULL,
    why text NOT NULL,
    reason text NOT NULL,
    rule text NOT NULL,
    evidence jsonb NOT NULL,
    model_version text NOT NULL,
    rules_version text NOT NULL,
    PRIMARY KEY (episode_id, reading_id),
    FOREIGN KEY (practice_id, episode_id) REFERENCES alerts.episode (practice_id, episode_id)
);

CREATE TABLE alerts.comment (
    comment_id uuid PRIMARY KEY,              -- made by the page: a repeated POST is one comment
    practice_id int NOT NULL,
    episode_id uuid NOT NULL,
    staff_id uuid NOT NULL,
    staff_name text NOT NULL,
    at timestamptz NOT NULL,
    said text NOT NULL CHECK (length(said) BETWEEN 1 AND 4000),
    FOREIGN KEY (practice_id, episode_id) REFERENCES alerts.episode (practice_id, episode_id),
    FOREIGN KEY (practice_id, staff_id) REFERENCES who.staff (practice_id, staff_id)
);
CREATE INDEX ON alerts.comment (episode_id, at);

-- One row per scored reading: what sparklines and timelines draw. The first score of a reading is kept; a replay or a
-- re-score of the same reading finds the row and is not triaged again.
CREATE TABLE alerts.observation (
    reading_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    kind text NOT NULL,
    effective_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    systolic real,                            -- mm[Hg]
    diastolic real,                           -- mm[Hg]
    pulse real,                               -- /min
    glucose real,                             -- mg/dL
    beyond text,
    tier text NOT NULL,
    bands jsonb NOT NULL,                     -- the patient's own usual, per quantity
    drift real,
    context text,
    flags text[] NOT NULL,
    time_confidence text NOT NULL,
    history boolean NOT NULL,
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id)
);
CREATE INDEX ON alerts.observation (patient_id, kind, effective_at);

CALL who.protect('alerts.episode');
CALL who.protect('alerts.transition');
CALL who.protect('alerts.evidence');
CALL who.protect('alerts.comment');
CALL who.protect('alerts.observation');

GRANT SELECT, INSERT, UPDATE ON alerts.episode TO lamplight_pipeline;
GRANT SELECT, UPDATE (state, number, due_at, owner, owner_name, until, disposition, handled_at, handled_severity,
                      closed_at, needs_task, back) ON alerts.episode TO lamplight_web;  -- what people's moves set
GRANT SELECT, INSERT ON alerts.transition TO lamplight_pipeline, lamplight_web;
GRANT SELECT, INSERT ON alerts.evidence TO lamplight_pipeline;
GRANT SELECT ON alerts.evidence TO lamplight_web;
GRANT SELECT, INSERT ON alerts.comment TO lamplight_web;
GRANT SELECT ON alerts.comment TO lamplight_pipeline;
GRANT SELECT, INSERT, DELETE ON alerts.observation TO lamplight_pipeline;
GRANT SELECT ON alerts.observation TO lamplight_web;

CALL who.append_only('alerts.transition');
CALL who.append_only('alerts.evidence');
CALL who.append_only('alerts.comment');

-- Pages that listen are told which practice's queue moved, once per transaction, and nothing about whom.
CREATE FUNCTION alerts.tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('alerts_moved', practice_id::text) FROM (SELECT DISTINCT practice_id FROM added) AS practices;
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT ON alerts.transition REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION alerts.tell();
CREATE TRIGGER tell AFTER INSERT ON alerts.comment REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION alerts.tell();
