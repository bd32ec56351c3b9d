-- depends: 0037.reads 0040.ccm
-- Calls that do not get out are technical work of their own; and the care calls' index for "last contact".

-- A way of calling people that failed: from when, why, who mends it, and when and how it was over.
CREATE TABLE alerts.outage (
    outage_id uuid PRIMARY KEY,               -- computed from practice, channel and beginning
    practice_id int NOT NULL REFERENCES who.practice,
    channel text NOT NULL CHECK (channel IN ('email', 'webhook')),
    began_at timestamptz NOT NULL,
    cause text NOT NULL,                      -- class of the newest failure, never its text
    calls int NOT NULL,                       -- that wait to get out
    owner uuid,
    owner_name text,                          -- as it was then
    ended_at timestamptz,
    ended text,                               -- how it was over
    CHECK ((ended_at IS NULL) = (ended IS NULL)),
    CHECK ((owner IS NULL) = (owner_name IS NULL)),
    FOREIGN KEY (practice_id, owner) REFERENCES who.staff (practice_id, staff_id)
);
CREATE UNIQUE INDEX one_open_outage ON alerts.outage (practice_id, channel) WHERE ended_at IS NULL;
CREATE INDEX ON alerts.outage (practice_id, ended_at);
CALL who.protect('alerts.outage');
GRANT SELECT, INSERT, UPDATE ON alerts.outage TO lamplight_pipeline;
GRANT SELECT, UPDATE (owner, owner_name) ON alerts.outage TO lamplight_web;
CREATE TRIGGER tell_began AFTER INSERT ON alerts.outage REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION alerts.tell();
CREATE TRIGGER tell_changed AFTER UPDATE ON alerts.outage REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION alerts.tell();

-- Who spoke with a patient last, asked for every row of the queue.
CREATE INDEX time_entry_spoken ON ccm.time_entry (patient_id, upper(span) DESC) WHERE interactive;
