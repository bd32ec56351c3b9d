-- depends: 0044.ccm_since_0040
-- The month's letter as it was given: to whom, how, and its words as they were read. Append-only, like all evidence.
CREATE TABLE ccm.letter (
    letter_id uuid PRIMARY KEY,             -- made by the browser: a retried POST is one letter
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    month date NOT NULL CHECK (month = date_trunc('month', month::timestamp)::date),
    given_to text NOT NULL,                 -- the patient, or the caregiver's name
    permission text NOT NULL,               -- of the patient to tell the caregiver; empty for the patient
    how text NOT NULL,
    words text NOT NULL,
    grade numeric(4, 1) NOT NULL,           -- Flesch-Kincaid
    given_at timestamptz NOT NULL,
    recorded_by uuid NOT NULL,
    recorded_by_name text NOT NULL,
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id),
    FOREIGN KEY (practice_id, recorded_by) REFERENCES who.staff (practice_id, staff_id)
);
CREATE INDEX ON ccm.letter (patient_id, month);
CALL who.protect('ccm.letter');
CALL who.append_only('ccm.letter');
GRANT SELECT, INSERT ON ccm.letter TO lamplight_pipeline, lamplight_web;
