-- depends: 0036.doors
-- Who looked at whom: one row for every page about one patient that was shown to somebody, written in the transaction
-- that read it. Append-only; a practice's auditor and admin read it.

CREATE TABLE audit.read (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    practice_id int NOT NULL REFERENCES who.practice,
    at timestamptz NOT NULL,
    staff_id uuid NOT NULL,
    staff_name text NOT NULL,
    staff_role text NOT NULL,
    patient_id uuid NOT NULL,
    page text NOT NULL,                       -- the route, with names for what varies: nothing about a person in it
    object_id text NOT NULL,                  -- which episode, task, reading ... it was
    FOREIGN KEY (practice_id, staff_id) REFERENCES who.staff (practice_id, staff_id),
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id)
);
CREATE INDEX ON audit.read (practice_id, at DESC);
CREATE INDEX ON audit.read (patient_id, at DESC);
CREATE INDEX ON audit.read (staff_id, at DESC);
CALL who.protect('audit.read');
GRANT SELECT, INSERT ON audit.read TO lamplight_web;
CALL who.append_only('audit.read');
