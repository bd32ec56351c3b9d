-- depends: 0020.risk
-- Models beside the ones that ship: first in the shadow, scored beside the live one and shown to nobody, then perhaps live.

-- What was trained, as it was written, with checksum and report card inside. One live and one shadow of each kind at most;
-- none live of a kind: the one that ships.
CREATE TABLE risk.model (
    version text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('drift', 'glucose')),
    content text NOT NULL,
    state text NOT NULL CHECK (state IN ('shadow', 'live', 'retired')),
    by_name text NOT NULL,
    reason text NOT NULL CHECK (length(btrim(reason)) > 0),
    since timestamptz NOT NULL
);
CREATE UNIQUE INDEX one_model_live ON risk.model (kind) WHERE state = 'live';
CREATE UNIQUE INDEX one_model_in_the_shadow ON risk.model (kind) WHERE state = 'shadow';
GRANT SELECT, INSERT, UPDATE ON risk.model TO lamplight_pipeline;
GRANT SELECT ON risk.model TO lamplight_web;

-- What the shadow said of a reading: numbers only, in a table of their own that no page may read and no room is told of.
CREATE TABLE risk.shadow (
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    reading_id uuid NOT NULL,
    model_version text NOT NULL,
    kind text NOT NULL,
    effective_at timestamptz NOT NULL,
    tier text NOT NULL,
    drift_score real,
    p_low_24h real,
    p_low_7d real,
    PRIMARY KEY (model_version, reading_id)
);
CALL who.protect('risk.shadow');
GRANT SELECT, INSERT ON risk.shadow TO lamplight_pipeline;
