-- depends: 0001.base
-- What the scorer remembers of each patient, what it said, and what people decided about limits and baselines.

-- One block of bytes per patient and kind: the whole state of the scorer (risk/memory.py), below 4 KB.
-- Written only by the pump's transaction, which holds the partition's fence.
CREATE TABLE risk.memory (
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('bp', 'glucose')),
    memory bytea NOT NULL CHECK (length(memory) <= 4096),
    latest_at timestamptz NOT NULL,
    PRIMARY KEY (patient_id, kind)
) WITH (fillfactor = 70);
ALTER TABLE risk.memory ALTER COLUMN memory SET STORAGE MAIN;
CALL who.protect('risk.memory');

-- Every score, as it was said. Identity is the pump's business (a handled reading is never handled again); the time
-- stands in the key because a hypertable's unique key must contain it.
CREATE TABLE risk.score (
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    event_id uuid NOT NULL,
    reading_id uuid NOT NULL,
    effective_at timestamptz NOT NULL,
    kind text NOT NULL,
    tier text NOT NULL,
    drift_score real,
    p_low_24h real,
    p_low_7d real,
    scored bytea NOT NULL,  -- the event itself, JSON
    PRIMARY KEY (event_id, effective_at)
);
SELECT create_hypertable('risk.score', 'effective_at', chunk_time_interval => interval '30 days');
CREATE INDEX score_of_patient ON risk.score (patient_id, effective_at DESC);
CALL who.protect('risk.score');

-- One limit moved for one patient (or, patient_id NULL, for the practice): who, why, from when, until when.
CREATE TABLE risk.limit_override (
    override_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    patient_id uuid,
    rule text NOT NULL,
    value double precision,  -- NULL: the line is switched off
    author uuid NOT NULL,
    reason text NOT NULL CHECK (length(btrim(reason)) > 0),
    valid_from timestamptz NOT NULL,
    valid_to timestamptz CHECK (valid_to > valid_from),
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id)
);
CREATE INDEX override_of_patient ON risk.limit_override (patient_id);
CREATE INDEX override_of_practice ON risk.limit_override (practice_id) WHERE patient_id IS NULL;
CALL who.protect('risk.limit_override');

-- A clinician's word that a new normal begins (a medication change), or another alert budget.
CREATE TABLE risk.decision (
    decision_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    patient_id uuid,  -- NULL: for the practice (budget only)
    baseline_from timestamptz,
    budget double precision CHECK (budget > 0 AND budget <= 4),
    author uuid NOT NULL,
    reason text NOT NULL CHECK (length(btrim(reason)) > 0),
    decided_at timestamptz NOT NULL,
    CHECK (num_nonnulls(baseline_from, budget) = 1),
    CHECK (patient_id IS NOT NULL OR baseline_from IS NULL),
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id)
);
CREATE INDEX decision_of_patient ON risk.decision (patient_id);
CREATE INDEX decision_of_practice ON risk.decision (practice_id) WHERE patient_id IS NULL;
CALL who.protect('risk.decision');

GRANT SELECT, INSERT, UPDATE ON risk.memory TO lamplight_pipeline;
GRANT SELECT, INSERT ON risk.score TO lamplight_pipeline;
GRANT SELECT ON risk.score TO lamplight_web;
GRANT SELECT ON risk.limit_override, risk.decision TO lamplight_pipeline;
GRANT SELECT, INSERT ON risk.limit_override, risk.decision TO lamplight_web;
GRANT UPDATE (valid_to) ON risk.limit_override TO lamplight_web;
