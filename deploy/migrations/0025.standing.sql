-- depends: 0024.shadow_kept
-- Where everybody stands, kept: a page of ten thousand patients must not read a week of scores of each of them.

-- Counts what was said about a patient, so that whoever keeps something about them knows whether it is still true.
-- Not indexed, and written with the memory: it costs the scorer nothing.
ALTER TABLE risk.memory ADD COLUMN said int NOT NULL DEFAULT 1;
CREATE INDEX memory_of_practice ON risk.memory (practice_id);
GRANT SELECT (practice_id, patient_id, kind, said) ON risk.memory TO lamplight_web;

-- What the scores of a patient say of where they stand (risk/population.py), as of so many of them. Derived: may be emptied.
CREATE TABLE risk.standing (
    practice_id int NOT NULL,
    patient_id uuid PRIMARY KEY,
    said int NOT NULL,
    told bytea NOT NULL  -- JSON
);
CREATE INDEX standing_of_practice ON risk.standing (practice_id);
CALL who.protect('risk.standing');
GRANT SELECT, INSERT, UPDATE ON risk.standing TO lamplight_web, lamplight_pipeline;
