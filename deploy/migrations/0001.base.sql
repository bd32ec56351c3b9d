-- The ground every room stands on: who the people are, row-level security, and the pump's bookkeeping.

CREATE EXTENSION IF NOT EXISTS timescaledb;
CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE SCHEMA who;
CREATE SCHEMA pump;
CREATE SCHEMA ingest;
CREATE SCHEMA risk;
CREATE SCHEMA alerts;
CREATE SCHEMA ccm;
CREATE SCHEMA audit;

GRANT USAGE ON SCHEMA who, pump, ingest, risk, alerts, ccm, audit TO lamplight_pipeline, lamplight_web;

-- The practice a web transaction speaks for; NULL (sees nothing) unless SET LOCAL app.practice_id said so.
CREATE FUNCTION who.current_practice() RETURNS int LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('app.practice_id', true), '')::int $$;

-- Row-level security for one table with people in it: the web sees its own practice, the pipeline serves all.
CREATE PROCEDURE who.protect(tbl regclass) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', tbl);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', tbl);
    EXECUTE format('CREATE POLICY own_practice ON %s TO lamplight_web USING (practice_id = who.current_practice()) WITH CHECK (practice_id = who.current_practice())', tbl);
    EXECUTE format('CREATE POLICY every_practice ON %s TO lamplight_pipeline USING (true) WITH CHECK (true)', tbl);
END $$;

-- Append-only: rows may be added and read, never changed, removed or truncated, not even by the owner by accident.
CREATE FUNCTION who.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP;
END $$;
CREATE PROCEDURE who.append_only(tbl regclass) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON %s FROM lamplight_web, lamplight_pipeline', tbl);
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION who.refuse_change()', tbl);
    EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION who.refuse_change()', tbl);
END $$;

CREATE TABLE who.practice (
    practice_id int PRIMARY KEY,
    name text NOT NULL,
    zone text NOT NULL  -- IANA name: the practice's civil time decides months and service hours
);
ALTER TABLE who.practice ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_practice ON who.practice TO lamplight_web USING (practice_id = who.current_practice());
CREATE POLICY every_practice ON who.practice TO lamplight_pipeline USING (true);

CREATE TABLE who.staff (
    staff_id uuid PRIMARY KEY,
    practice_id int NOT NULL REFERENCES who.practice,
    email text NOT NULL UNIQUE,
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('nurse', 'coordinator', 'physician', 'admin', 'auditor')),
    credential text,  -- RN, LPN, MA, MD ...: whose minutes count for what
    password_hash text NOT NULL,
    active boolean NOT NULL DEFAULT true,
    UNIQUE (practice_id, staff_id)
);
CALL who.protect('who.staff');

CREATE TABLE who.patient (
    patient_id uuid PRIMARY KEY,
    practice_id int NOT NULL REFERENCES who.practice,
    mrn text NOT NULL,
    name text NOT NULL,
    born date NOT NULL,
    zone text NOT NULL,  -- the patient's own civil time: days and daily rhythm
    UNIQUE (practice_id, mrn),
    UNIQUE (practice_id, patient_id)  -- target of composite foreign keys: a child cannot point over the border
);
CALL who.protect('who.patient');

CREATE TABLE who.session (
    token_hash bytea PRIMARY KEY,  -- sha256 of the cookie; the cookie itself is nowhere
    staff_id uuid NOT NULL REFERENCES who.staff,
    csrf text NOT NULL,
    created_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    ended_at timestamptz
);
CREATE TABLE who.sign_in_attempt (
    account_hash bytea NOT NULL,
    at timestamptz NOT NULL,
    succeeded boolean NOT NULL
);
CREATE INDEX ON who.sign_in_attempt (account_hash, at);

-- Sign-in happens before a practice is known, so these few questions are functions of the owner, not table grants.
CREATE FUNCTION who.find_staff(wanted text)
    RETURNS TABLE (staff_id uuid, practice_id int, password_hash text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = who, pg_temp
    AS $$ SELECT s.staff_id, s.practice_id, s.password_hash FROM who.staff s WHERE s.email = lower(wanted) AND s.active $$;
CREATE FUNCTION who.find_session(wanted bytea)
    RETURNS TABLE (staff_id uuid, name text, role text, credential text, practice_id int, practice_name text, zone text,
                   csrf text, created_at timestamptz, seen_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = who, pg_temp
    AS $$ SELECT s.staff_id, s.name, s.role, s.credential, p.practice_id, p.name, p.zone, e.csrf, e.created_at, e.seen_at
            FROM who.session e JOIN who.staff s USING (staff_id) JOIN who.practice p USING (practice_id)
           WHERE e.token_hash = wanted AND e.ended_at IS NULL AND s.active $$;

GRANT SELECT ON who.practice, who.staff, who.patient TO lamplight_web, lamplight_pipeline;
GRANT INSERT, UPDATE ON who.practice, who.staff, who.patient TO lamplight_pipeline;
CREATE POLICY every_practice_write ON who.practice FOR INSERT TO lamplight_pipeline WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON who.session TO lamplight_web;
GRANT SELECT, INSERT ON who.sign_in_attempt TO lamplight_web;
-- The owner runs the definer functions and migrations; FORCE would blind it, so it has its own policy.
CREATE POLICY owner_sees ON who.staff TO lamplight_owner USING (true) WITH CHECK (true);
CREATE POLICY owner_sees ON who.patient TO lamplight_owner USING (true) WITH CHECK (true);

-- The pump -------------------------------------------------------------------------------------------------------

-- One row per consumer and partition. `epoch` is the fencing token; `next_offset` is the truth about progress.
CREATE TABLE pump.partition (
    room text NOT NULL,
    topic text NOT NULL,
    partition int NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    next_offset bigint NOT NULL DEFAULT 0,
    tries int NOT NULL DEFAULT 0,  -- claims since the last progress: a record that kills the process shows here
    owner text,
    moved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (room, topic, partition)
);

-- What each room has handled: the same fact arriving again (gateway resend, relay resend) is skipped.
CREATE TABLE pump.seen (
    room text NOT NULL,
    event_id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (room, event_id)
);
CREATE INDEX ON pump.seen (at);

-- Events decided and committed, waiting for the relay to bring them to Kafka, in order of `seq` per key.
CREATE TABLE pump.outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room text NOT NULL,
    topic text NOT NULL,
    key text NOT NULL,
    event_id uuid NOT NULL,
    payload bytea NOT NULL
);
CREATE INDEX ON pump.outbox (room, seq);

-- Records whose handling failed: parked with the reason, the next patient is served.
CREATE TABLE pump.parked (
    room text NOT NULL,
    topic text NOT NULL,
    partition int NOT NULL,
    record_offset bigint NOT NULL,
    event_id uuid,
    key bytea,
    value bytea NOT NULL,
    error text NOT NULL,  -- class and place, never the message: it may quote the value
    at timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz,
    PRIMARY KEY (room, topic, partition, record_offset)
);

CREATE FUNCTION pump.send(room text, topic text, key text, event_id uuid, payload bytea) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pump, pg_temp
    AS $$ INSERT INTO pump.outbox (room, topic, key, event_id, payload) VALUES ($1, $2, $3, $4, $5);
          SELECT pg_notify('outbox_' || $1, '') $$;

GRANT SELECT, INSERT, UPDATE ON pump.partition TO lamplight_pipeline;
GRANT SELECT, INSERT, DELETE ON pump.seen, pump.outbox TO lamplight_pipeline;
GRANT SELECT, INSERT, UPDATE ON pump.parked TO lamplight_pipeline;
GRANT USAGE ON SEQUENCE pump.outbox_seq_seq TO lamplight_pipeline;
