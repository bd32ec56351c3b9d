-- depends: 0034.duty
-- What makes a desk one's own, and what a patient hears: saved views, receipts.

-- A part of the list that somebody wants to come back to.
CREATE TABLE alerts.saved_view (
    view_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    staff_id uuid NOT NULL,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 40),
    query text NOT NULL,                      -- the list's own address, put together by us, never as typed
    added_at timestamptz NOT NULL,
    UNIQUE (staff_id, name),
    FOREIGN KEY (practice_id, staff_id) REFERENCES who.staff (practice_id, staff_id)
);
CALL who.protect('alerts.saved_view');
GRANT SELECT, INSERT, DELETE ON alerts.saved_view TO lamplight_web;
GRANT SELECT ON alerts.saved_view TO lamplight_pipeline;

-- "Your nurse saw this": one per patient and act, sent at least once under its id.
CREATE TABLE alerts.receipt (
    receipt_id uuid PRIMARY KEY,              -- computed from act and patient
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    act_id uuid NOT NULL,
    at timestamptz NOT NULL,
    by uuid NOT NULL,
    by_name text NOT NULL,
    target text NOT NULL,                     -- the address that passes messages on to patients, as it was then
    tries int NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL,
    sent_at timestamptz,
    failure text,                             -- class of the last failure, never its text
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id),
    FOREIGN KEY (practice_id, by) REFERENCES who.staff (practice_id, staff_id)
);
CREATE INDEX ON alerts.receipt (next_try_at) WHERE sent_at IS NULL;
CREATE INDEX ON alerts.receipt (patient_id, at);
CALL who.protect('alerts.receipt');
GRANT SELECT, UPDATE ON alerts.receipt TO lamplight_pipeline;
GRANT SELECT, INSERT ON alerts.receipt TO lamplight_web;

-- Last contact, asked for every row of the list.
CREATE INDEX transition_contact ON alerts.transition (patient_id, at DESC)
    WHERE disposition IN ('contacted', 'plan_changed', 'emergency', 'self_care');
