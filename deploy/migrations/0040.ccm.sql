-- depends: 0001.base
-- The CCM room: who is enrolled and consented, the work, the running timers, the minutes, the reviewed month.
-- Everything that a claim rests on is append-only, and says so in grants, triggers, constraints and a hash chain.

-- Who may be served, and on what ground -------------------------------------------------------------------------

-- What is known about one patient's programme. A change is a new version; the highest version holds.
CREATE TABLE ccm.enrolment (
    enrolment_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    version int NOT NULL CHECK (version > 0),
    state text NOT NULL CHECK (state IN ('candidate', 'enrolled', 'declined', 'ended')),
    programs text[] NOT NULL CHECK (programs <@ ARRAY['CCM', 'RPM', 'PCM']),
    since date,                             -- care management began
    conditions jsonb NOT NULL DEFAULT '[]', -- [{"icd10", "name", "chronic_months"}]
    significant_risk_documented boolean,    -- in this and every column below, NULL means nobody has said
    payer text,
    payer_checked_on date,
    initiating_visit date,
    practitioner_id uuid,                   -- who bills: physician, PA, NP, CNS or CNM
    practitioner_name text,
    care_manager_id uuid,
    care_manager_name text,
    rpm_ordered boolean,
    rpm_device_fda_defined boolean,
    rpm_auto_upload boolean,
    rpm_setup_on date,
    profile jsonb NOT NULL DEFAULT '{}',    -- caregivers with permission, providers, contact preference, barriers
    why text NOT NULL,                      -- why this version was written
    recorded_at timestamptz NOT NULL,
    recorded_by uuid NOT NULL,
    UNIQUE (patient_id, version),
    UNIQUE (practice_id, enrolment_id),
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id),
    FOREIGN KEY (practice_id, recorded_by) REFERENCES who.staff (practice_id, staff_id)
);

CREATE TABLE ccm.consent (
    consent_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    program text NOT NULL CHECK (program IN ('CCM', 'RPM', 'PCM')),
    accepted boolean NOT NULL,              -- a refusal is recorded too
    given_at timestamptz NOT NULL,
    method text NOT NULL CHECK (method IN ('verbal', 'written')),
    explained text[] NOT NULL CHECK (explained <@ ARRAY['availability', 'cost_sharing', 'one_practitioner', 'right_to_stop']),
    language text NOT NULL,
    given_by text NOT NULL,                 -- the patient, or who speaks for them and why
    explained_by uuid NOT NULL,
    explained_by_name text NOT NULL,
    recorded_at timestamptz NOT NULL,
    UNIQUE (practice_id, consent_id),
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id),
    FOREIGN KEY (practice_id, explained_by) REFERENCES who.staff (practice_id, staff_id)
);
CREATE INDEX ON ccm.consent (patient_id, program, given_at);

-- Effective at the end of the calendar month in which it was said.
CREATE TABLE ccm.consent_revocation (
    consent_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    revoked_at timestamptz NOT NULL,
    reason text NOT NULL,
    recorded_by uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    FOREIGN KEY (practice_id, consent_id) REFERENCES ccm.consent (practice_id, consent_id),
    FOREIGN KEY (practice_id, recorded_by) REFERENCES who.staff (practice_id, staff_id)
);

CREATE TABLE ccm.care_plan (
    plan_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    version int NOT NULL CHECK (version > 0),
    content jsonb NOT NULL,                 -- the elements, in ccm_bridge/careplan.py
    review_on date NOT NULL,
    drafted_by uuid NOT NULL,
    drafted_by_name text NOT NULL,
    drafted_at timestamptz NOT NULL,
    UNIQUE (patient_id, version),
    UNIQUE (practice_id, plan_id),
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id),
    FOREIGN KEY (practice_id, drafted_by) REFERENCES who.staff (practice_id, staff_id)
);
CREATE TABLE ccm.care_plan_signature (
    plan_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    signed_by uuid NOT NULL,
    signed_by_name text NOT NULL,
    signed_at timestamptz NOT NULL,
    FOREIGN KEY (practice_id, plan_id) REFERENCES ccm.care_plan (practice_id, plan_id),
    FOREIGN KEY (practice_id, signed_by) REFERENCES who.staff (practice_id, staff_id)
);
CREATE TABLE ccm.care_plan_copy (
    copy_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    plan_id uuid NOT NULL,
    given_to text NOT NULL,
    how text NOT NULL,
    given_at timestamptz NOT NULL,
    recorded_by uuid NOT NULL,
    FOREIGN KEY (practice_id, plan_id) REFERENCES ccm.care_plan (practice_id, plan_id),
    FOREIGN KEY (practice_id, recorded_by) REFERENCES who.staff (practice_id, staff_id)
);

-- What the practice as a whole attests: 24/7 access, certified record keeping.
CREATE TABLE ccm.attestation (
    attestation_id uuid PRIMARY KEY,
    practice_id int NOT NULL REFERENCES who.practice,
    kind text NOT NULL CHECK (kind IN ('access_24_7', 'certified_ehr')),
    holds boolean NOT NULL,
    from_day date NOT NULL,
    statement text NOT NULL,
    attested_by uuid NOT NULL,
    attested_at timestamptz NOT NULL,
    FOREIGN KEY (practice_id, attested_by) REFERENCES who.staff (practice_id, staff_id)
);

-- Other facts that decide a patient's month. `month_checked` says that a person looked for the rest and found no more.
CREATE TABLE ccm.circumstance (
    circumstance_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('other_service', 'stay', 'hospice', 'death', 'complex_mdm', 'complex_elected', 'month_checked')),
    month date CHECK (month = date_trunc('month', month::timestamp)::date), -- the month it speaks about
    from_at timestamptz,
    until_at timestamptz,
    code text,                              -- other_service: the code; stay: inpatient, snf
    by_whom text CHECK (by_whom IN ('same_practice', 'other_practice')),
    note text NOT NULL,
    withdraws uuid UNIQUE REFERENCES ccm.circumstance, -- said in error: the earlier row no longer holds
    recorded_by uuid NOT NULL,
    recorded_by_name text NOT NULL,
    recorded_at timestamptz NOT NULL,
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id),
    FOREIGN KEY (practice_id, recorded_by) REFERENCES who.staff (practice_id, staff_id)
);
CREATE INDEX ON ccm.circumstance (patient_id);

-- The work ------------------------------------------------------------------------------------------------------

-- One task per episode, however often the episode is told; tasks made by a person have no episode.
CREATE TABLE ccm.task (
    task_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    episode_id uuid UNIQUE,
    kind text NOT NULL CHECK (kind IN ('episode', 'monthly', 'manual')),
    concern text,
    severity text NOT NULL CHECK (severity IN ('watch', 'high', 'critical')),
    title text NOT NULL,
    reason text NOT NULL,                   -- why it exists, one sentence
    episode_state text CHECK (episode_state IN ('open', 'closed')),
    last_number int NOT NULL DEFAULT 0,     -- of the episode's moves, the last that was told
    checklist jsonb NOT NULL,               -- [{"key", "text", "done_at", "done_by_name"}]
    state text NOT NULL CHECK (state IN ('open', 'taken', 'escalated', 'done', 'cancelled')),
    owner_id uuid,
    owner_name text,
    outcome text,
    opened_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    closed_at timestamptz,
    closed_by_name text,
    CHECK ((kind = 'episode') = (episode_id IS NOT NULL)),
    CHECK ((state IN ('done', 'cancelled')) = (closed_at IS NOT NULL)),
    CHECK (state <> 'taken' OR owner_id IS NOT NULL),
    UNIQUE (practice_id, task_id),
    UNIQUE (practice_id, patient_id, task_id),
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id),
    FOREIGN KEY (practice_id, owner_id) REFERENCES who.staff (practice_id, staff_id)
);
CREATE INDEX ON ccm.task (practice_id, due_at) WHERE state NOT IN ('done', 'cancelled');
CREATE INDEX ON ccm.task (patient_id);

-- Every move of every episode as the alerts room told it, also before (or without) a task: the links back to scores and readings.
CREATE TABLE ccm.episode_move (
    event_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    episode_id uuid NOT NULL,
    number int NOT NULL,
    concern text NOT NULL,
    move text NOT NULL,
    severity text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL,
    caused_by uuid NOT NULL,                -- the score, or the person's action
    by_staff uuid,
    disposition text,
    readings uuid[] NOT NULL,
    UNIQUE (episode_id, number),
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id)
);
CREATE INDEX ON ccm.episode_move (patient_id, at);
CREATE INDEX ON ccm.episode_move USING gin (readings); -- from a reading forward

-- What people did with a task.
CREATE TABLE ccm.task_move (
    move_id uuid PRIMARY KEY,               -- made by the browser: a retried POST is one move
    practice_id int NOT NULL,
    task_id uuid NOT NULL,
    n bigint GENERATED ALWAYS AS IDENTITY,  -- the order of telling, also within one instant
    move text NOT NULL,
    note text NOT NULL,
    by_staff uuid NOT NULL,
    by_name text NOT NULL,
    at timestamptz NOT NULL,
    FOREIGN KEY (practice_id, task_id) REFERENCES ccm.task (practice_id, task_id),
    FOREIGN KEY (practice_id, by_staff) REFERENCES who.staff (practice_id, staff_id)
);
CREATE INDEX ON ccm.task_move (task_id, n);

-- Running timers are rows, not browser memory ---------------------------------------------------------------------

CREATE TABLE ccm.timer (
    timer_id uuid PRIMARY KEY,              -- made by the browser
    practice_id int NOT NULL,
    staff_id uuid NOT NULL,
    patient_id uuid NOT NULL,
    task_id uuid,
    program text NOT NULL CHECK (program IN ('CCM', 'RPM', 'PCM')),
    activity text NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'paused', 'stopped', 'logged', 'discarded')),
    started_at timestamptz NOT NULL,
    UNIQUE (practice_id, timer_id),
    FOREIGN KEY (practice_id, staff_id) REFERENCES who.staff (practice_id, staff_id),
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id),
    FOREIGN KEY (practice_id, patient_id, task_id) REFERENCES ccm.task (practice_id, patient_id, task_id)
);
-- One person works on one thing: a second start meets this index, in whichever browser it was made.
CREATE UNIQUE INDEX one_running_timer ON ccm.timer (staff_id) WHERE state IN ('running', 'paused', 'stopped');

-- "I am working now." Beat n of a timer is one row however often it is sent. A pause ends a stretch; resuming begins the next.
CREATE TABLE ccm.timer_beat (
    timer_id uuid NOT NULL,
    n int NOT NULL CHECK (n >= 0),
    practice_id int NOT NULL,
    stretch int NOT NULL CHECK (stretch >= 0),
    at timestamptz NOT NULL,
    PRIMARY KEY (timer_id, n),
    FOREIGN KEY (practice_id, timer_id) REFERENCES ccm.timer (practice_id, timer_id)
);
CREATE TABLE ccm.timer_stop (
    timer_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    at timestamptz NOT NULL,
    how text NOT NULL CHECK (how IN ('stopped', 'recovered')),
    FOREIGN KEY (practice_id, timer_id) REFERENCES ccm.timer (practice_id, timer_id)
);

-- The ledger ----------------------------------------------------------------------------------------------------

-- One stretch of one person's work for one patient in one programme. Never changed: a mistake is voided and entered anew.
CREATE TABLE ccm.time_entry (
    entry_id uuid PRIMARY KEY,              -- made by the client: a retried POST is one entry
    practice_id int NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    staff_id uuid NOT NULL,
    staff_name text NOT NULL,
    credential text NOT NULL,               -- RN, LPN, MA, MD ... at the time of the work
    country text NOT NULL,                  -- where the person sat
    patient_id uuid NOT NULL,
    program text NOT NULL CHECK (program IN ('CCM', 'RPM', 'PCM')),
    span tstzrange NOT NULL CHECK (
        NOT isempty(span) AND NOT lower_inf(span) AND NOT upper_inf(span) AND lower_inc(span) AND NOT upper_inc(span)
        AND upper(span) - lower(span) <= interval '4 hours'),
    zone text NOT NULL,                     -- the practice's civil time when entered: it decides the month
    month date NOT NULL,
    task_id uuid,
    timer_id uuid,
    activity text NOT NULL,
    note text NOT NULL CHECK (length(note) >= 10), -- "30 minutes of CCM" proves nothing
    problem text NOT NULL,                  -- the plan's problem it served
    outcome text NOT NULL,
    contact text NOT NULL CHECK (contact IN ('none', 'phone', 'video', 'in_person', 'message')),
    contact_with text NOT NULL,
    interactive boolean NOT NULL,           -- live, two-way
    as_clinical_staff boolean NOT NULL,     -- a practitioner doing clinical staff's work
    readings uuid[] NOT NULL,               -- acted on
    source text NOT NULL CHECK (source IN ('timer', 'manual')),
    attestation text NOT NULL,              -- empty for a measured entry
    corrects uuid REFERENCES ccm.time_entry,
    entered_at timestamptz NOT NULL,
    entered_by uuid NOT NULL,
    prev_hash bytea NOT NULL CHECK (length(prev_hash) = 32),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    UNIQUE (practice_id, seq),
    UNIQUE (practice_id, prev_hash),        -- a fork is impossible even if the lock is forgotten
    UNIQUE (practice_id, entry_id),
    -- Whole seconds, so that sums do not change when a span is split; and never over the practice's month end.
    CONSTRAINT whole_seconds CHECK (
        extract(microseconds FROM lower(span) AT TIME ZONE 'UTC')::bigint % 1000000 = 0
        AND extract(microseconds FROM upper(span) AT TIME ZONE 'UTC')::bigint % 1000000 = 0),
    CONSTRAINT inside_one_month CHECK (
        month = date_trunc('month', lower(span) AT TIME ZONE zone)::date
        AND month = date_trunc('month', (upper(span) AT TIME ZONE 'UTC' - interval '1 second') AT TIME ZONE 'UTC' AT TIME ZONE zone)::date),
    CONSTRAINT manual_is_attested CHECK ((source = 'manual') = (length(attestation) > 0)),
    CONSTRAINT interactive_is_live CHECK (NOT interactive OR contact IN ('phone', 'video', 'in_person')),
    FOREIGN KEY (practice_id, staff_id) REFERENCES who.staff (practice_id, staff_id),
    FOREIGN KEY (practice_id, entered_by) REFERENCES who.staff (practice_id, staff_id),
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id),
    FOREIGN KEY (practice_id, patient_id, task_id) REFERENCES ccm.task (practice_id, patient_id, task_id),
    FOREIGN KEY (practice_id, timer_id) REFERENCES ccm.timer (practice_id, timer_id)
);
CREATE INDEX ON ccm.time_entry (practice_id, month, patient_id);
CREATE INDEX ON ccm.time_entry (task_id);
CREATE INDEX ON ccm.time_entry USING gin (readings);

-- "This entry is not to count", with its own chain: taking a void away is noticed as well.
CREATE TABLE ccm.time_void (
    void_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    entry_id uuid NOT NULL UNIQUE,
    reason text NOT NULL CHECK (length(reason) >= 3),
    by_staff uuid NOT NULL,
    by_name text NOT NULL,
    at timestamptz NOT NULL,
    prev_hash bytea NOT NULL CHECK (length(prev_hash) = 32),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    UNIQUE (practice_id, seq),
    UNIQUE (practice_id, prev_hash),
    FOREIGN KEY (practice_id, entry_id) REFERENCES ccm.time_entry (practice_id, entry_id),
    FOREIGN KEY (practice_id, by_staff) REFERENCES who.staff (practice_id, staff_id)
);

-- The spans that still exclude others. Derived, kept only by the two triggers below: nobody has a grant to write it.
CREATE TABLE ccm.active_span (
    entry_id uuid PRIMARY KEY REFERENCES ccm.time_entry,
    practice_id int NOT NULL,
    staff_id uuid NOT NULL,
    span tstzrange NOT NULL,
    CONSTRAINT one_person_one_minute EXCLUDE USING gist (staff_id WITH =, span WITH &&)
);

CREATE FUNCTION ccm.hold_span() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = ccm, pg_temp AS $$
BEGIN
    INSERT INTO ccm.active_span (entry_id, practice_id, staff_id, span) VALUES (NEW.entry_id, NEW.practice_id, NEW.staff_id, NEW.span);
    RETURN NULL;
END $$;
CREATE FUNCTION ccm.release_span() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = ccm, pg_temp AS $$
BEGIN
    DELETE FROM ccm.active_span WHERE entry_id = NEW.entry_id;
    RETURN NULL;
END $$;
CREATE TRIGGER hold_span AFTER INSERT ON ccm.time_entry FOR EACH ROW EXECUTE FUNCTION ccm.hold_span();
CREATE TRIGGER release_span AFTER INSERT ON ccm.time_void FOR EACH ROW EXECUTE FUNCTION ccm.release_span();

-- A patient's month as a person saw it: reviewed, then signed, then locked; later only amended. Facts and decision are the
-- canonical text that was hashed, not jsonb, which would re-spell them.
CREATE TABLE ccm.month_review (
    review_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    patient_id uuid NOT NULL,
    month date NOT NULL,
    version int NOT NULL CHECK (version > 0),
    step text NOT NULL CHECK (step IN ('reviewed', 'signed', 'locked', 'amended')),
    facts text NOT NULL,
    decision text NOT NULL,
    entries uuid[] NOT NULL,
    entries_hash bytea NOT NULL CHECK (length(entries_hash) = 32),
    rule_set text NOT NULL,
    price_set text NOT NULL,
    note text NOT NULL,
    by_staff uuid NOT NULL,
    by_name text NOT NULL,
    at timestamptz NOT NULL,
    prev_hash bytea NOT NULL CHECK (length(prev_hash) = 32),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    UNIQUE (practice_id, seq),
    UNIQUE (practice_id, prev_hash),
    UNIQUE (patient_id, month, version),
    UNIQUE (practice_id, review_id),
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id),
    FOREIGN KEY (practice_id, by_staff) REFERENCES who.staff (practice_id, staff_id)
);

-- An amendment that takes support away from an exported claim starts the clock of the overpayment rule (60 days).
CREATE TABLE ccm.overpayment (
    review_id uuid PRIMARY KEY,
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    month date NOT NULL,
    codes_before jsonb NOT NULL,
    codes_after jsonb NOT NULL,
    identified_at timestamptz NOT NULL,
    report_by date NOT NULL,
    FOREIGN KEY (practice_id, review_id) REFERENCES ccm.month_review (practice_id, review_id),
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id)
);

-- The heads of a practice's chains, signed and sent out of the database's reach: only this catches a cut tail.
CREATE TABLE ccm.anchor (
    anchor_id uuid PRIMARY KEY,
    practice_id int NOT NULL REFERENCES who.practice,
    day date NOT NULL,
    statement text NOT NULL,                -- canonical text: {"practice", "day", "heads": {"time_entry": {"seq", "hash"}, ...}}
    key_id text NOT NULL,
    signature bytea NOT NULL,               -- Ed25519 over the statement
    at timestamptz NOT NULL,
    UNIQUE (practice_id, day)
);

-- Two people on one patient at once: counted once by the reasoner, shown to the reviewer.
CREATE VIEW ccm.patient_overlap WITH (security_invoker = true) AS
    SELECT a.practice_id, a.patient_id, a.month, a.entry_id AS entry_a, b.entry_id AS entry_b, a.span * b.span AS shared
      FROM ccm.time_entry a
      JOIN ccm.time_entry b ON b.patient_id = a.patient_id AND b.seq > a.seq AND b.span && a.span
     WHERE NOT EXISTS (SELECT FROM ccm.time_void v WHERE v.entry_id IN (a.entry_id, b.entry_id));

-- Who may do what -------------------------------------------------------------------------------------------------

DO $$
DECLARE tbl text;
BEGIN
    FOREACH tbl IN ARRAY ARRAY['enrolment', 'consent', 'consent_revocation', 'care_plan', 'care_plan_signature', 'care_plan_copy',
        'attestation', 'circumstance', 'task', 'episode_move', 'task_move', 'timer', 'timer_beat', 'timer_stop', 'time_entry',
        'time_void', 'active_span', 'month_review', 'overpayment', 'anchor']
    LOOP
        EXECUTE format('CALL who.protect(%L)', 'ccm.' || tbl);
        EXECUTE format('GRANT SELECT ON ccm.%I TO lamplight_pipeline, lamplight_web', tbl);
        CONTINUE WHEN tbl = 'active_span';
        EXECUTE format('GRANT INSERT ON ccm.%I TO lamplight_pipeline, lamplight_web', tbl);
        IF tbl IN ('task', 'timer') THEN
            EXECUTE format('GRANT UPDATE ON ccm.%I TO lamplight_pipeline, lamplight_web', tbl);
        ELSE
            EXECUTE format('CALL who.append_only(%L)', 'ccm.' || tbl);
        END IF;
    END LOOP;
END $$;
GRANT SELECT ON ccm.patient_overlap TO lamplight_pipeline, lamplight_web;
-- The triggers keep the derived spans as the owner, whom FORCE would blind.
CREATE POLICY owner_keeps ON ccm.active_span TO lamplight_owner USING (true) WITH CHECK (true);
