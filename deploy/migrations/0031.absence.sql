-- depends: 0030.alerts
-- That readings come: when the next one of each kind is due, and what was agreed with the patient about it.

CREATE TABLE alerts.expectation (
    patient_id uuid NOT NULL,
    kind text NOT NULL,
    practice_id int NOT NULL,
    every_hours int NOT NULL CHECK (every_hours > 0),
    last_at timestamptz NOT NULL,             -- receipt of the newest reading
    due_at timestamptz NOT NULL,              -- when its absence means something: the timer is this row
    paused_until timestamptz,
    PRIMARY KEY (patient_id, kind),
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id)
);
CREATE INDEX ON alerts.expectation (due_at);
CREATE INDEX ON alerts.expectation (practice_id);

-- Holidays, hospital stays, another rhythm: who agreed to what, when and why. Nothing goes quiet by accident.
CREATE TABLE alerts.arrangement (
    arrangement_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    kind text NOT NULL,
    every_hours int NOT NULL,
    paused_until timestamptz,
    reason text NOT NULL,
    at timestamptz NOT NULL,
    by uuid NOT NULL,
    by_name text NOT NULL,
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id),
    FOREIGN KEY (practice_id, by) REFERENCES who.staff (practice_id, staff_id)
);
CREATE INDEX ON alerts.arrangement (patient_id, kind, at);

CALL who.protect('alerts.expectation');
CALL who.protect('alerts.arrangement');
GRANT SELECT, INSERT, UPDATE ON alerts.expectation TO lamplight_pipeline;
GRANT SELECT, UPDATE (every_hours, paused_until, due_at) ON alerts.expectation TO lamplight_web;
GRANT SELECT, INSERT ON alerts.arrangement TO lamplight_web;
GRANT SELECT ON alerts.arrangement TO lamplight_pipeline;
CALL who.append_only('alerts.arrangement');
