-- depends: 0013.set_aside 0020.risk 0030.alerts
-- Readings that a person took back or corrected: new facts beside the old ones, in every room that drew on the reading.

ALTER TABLE ingest.reading ADD COLUMN supersedes uuid;  -- the reading that this one corrects

-- The reading stays in the archive; who counts or scores leaves out what is here.
CREATE TABLE ingest.withdrawal (
    reading_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    effective_at timestamptz NOT NULL,         -- of the reading: the way to its chunk
    superseded_by uuid,
    reason text NOT NULL CHECK (length(btrim(reason)) > 0),
    by uuid,                                   -- NULL: from the command line
    by_name text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX ON ingest.withdrawal (patient_id);
CALL who.protect('ingest.withdrawal');
GRANT SELECT, INSERT ON ingest.withdrawal TO lamplight_pipeline, lamplight_web;
CALL who.append_only('ingest.withdrawal');

-- The score was said and stays; it says nothing about the patient any more.
CREATE TABLE risk.retraction (
    reading_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    at timestamptz NOT NULL,
    unlearnt boolean NOT NULL                  -- the memory knew it and does not any more
);
CREATE INDEX ON risk.retraction (patient_id);
CALL who.protect('risk.retraction');
GRANT SELECT, INSERT ON risk.retraction TO lamplight_pipeline;
GRANT SELECT ON risk.retraction TO lamplight_web;
CALL who.append_only('risk.retraction');

-- Evidence that was taken back: the row in alerts.evidence stays, and counts no more.
CREATE TABLE alerts.retraction (
    reading_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    reason text NOT NULL,                      -- health data: never leaves the database
    by_name text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX ON alerts.retraction (patient_id);
CALL who.protect('alerts.retraction');
GRANT SELECT, INSERT ON alerts.retraction TO lamplight_pipeline;
GRANT SELECT ON alerts.retraction TO lamplight_web;
CALL who.append_only('alerts.retraction');

-- What is still open of one kind, however much of it was closed.
CREATE INDEX refusal_open_of_kind ON ingest.refusal (gateway_id, kind_device, hop, reason, received_at DESC)
    WHERE state IN ('open', 'replaying');
