-- depends: 0025.standing
-- A score is found by its patient: one index less under every reading, which with a million patients was a page of its own
-- to read, to write and to log whole. Who asks for a score by its id knows whose it is.
ALTER TABLE risk.score DROP CONSTRAINT score_pkey;
DROP INDEX risk.score_of_patient;
ALTER TABLE risk.score ADD PRIMARY KEY (patient_id, effective_at, event_id);
