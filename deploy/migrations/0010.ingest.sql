-- depends: 0001.base
-- Ingest: gateways, devices and whose they are; the archive of readings; what was set aside and why.

CREATE TABLE ingest.gateway (
    gateway_id text PRIMARY KEY,  -- the name in its certificate
    practice_id int NOT NULL REFERENCES who.practice,
    playback boolean NOT NULL DEFAULT false,  -- plays recorded days: the time it claims counts as the time of receipt
    online boolean NOT NULL DEFAULT false,
    last_seen timestamptz,
    clock_error interval,  -- our clock minus its clock, at its last heartbeat
    outbox_depth int,
    outbox_full real,  -- 0 to 1; its own alarm rings at 0.8
    agent text
);
CALL who.protect('ingest.gateway');

CREATE TABLE ingest.device (
    device_id text PRIMARY KEY,  -- serial number, or a hardware address as 12 lower-case hex digits
    practice_id int NOT NULL REFERENCES who.practice,
    family text NOT NULL,
    model text NOT NULL DEFAULT '',
    battery_percent real,
    last_event text,
    last_event_at timestamptz,
    UNIQUE (practice_id, device_id)
);
CALL who.protect('ingest.device');

-- Who has which device from when until when. The payload's idea of the patient is never asked.
CREATE TABLE ingest.device_assignment (
    device_id text NOT NULL,
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    period tstzrange NOT NULL CHECK (NOT isempty(period) AND lower_inc(period) AND NOT upper_inc(period)),
    PRIMARY KEY (device_id, period),
    FOREIGN KEY (practice_id, device_id) REFERENCES ingest.device (practice_id, device_id),
    FOREIGN KEY (practice_id, patient_id) REFERENCES who.patient (practice_id, patient_id),
    CONSTRAINT one_patient_at_a_time EXCLUDE USING gist (device_id WITH =, period WITH &&)
);
CREATE INDEX ON ingest.device_assignment (patient_id);
CALL who.protect('ingest.device_assignment');

-- The identity of a reading. A hypertable's unique key must contain its time, which a correction may change.
CREATE TABLE ingest.reading_key (
    event_id uuid PRIMARY KEY,
    effective_at timestamptz NOT NULL
);

CREATE TABLE ingest.reading (
    event_id uuid NOT NULL,
    caused_by uuid NOT NULL,
    practice_id int NOT NULL,
    patient_id uuid NOT NULL,
    device_id text NOT NULL,
    gateway_id text NOT NULL,
    kind text NOT NULL,
    effective_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    gateway_time timestamptz,
    device_time text,
    time_rule text NOT NULL,
    time_confidence text NOT NULL,
    utc_offset_minutes int,
    systolic double precision,  -- mm[Hg]
    diastolic double precision,  -- mm[Hg]
    map double precision,  -- mm[Hg]
    pulse double precision,  -- /min
    glucose double precision,  -- mg/dL
    beyond text,
    context text,
    flags text[] NOT NULL,
    history boolean NOT NULL,
    raw bytea NOT NULL,
    UNIQUE (event_id, effective_at)
);
-- Grants, but not policies, reach the chunks of a hypertable: they lie in a schema of their own that nobody may enter.
CREATE SCHEMA ingest_chunks;
SELECT create_hypertable('ingest.reading', 'effective_at', chunk_time_interval => interval '30 days',
                         create_default_indexes => false, associated_schema_name => 'ingest_chunks');
CREATE INDEX reading_of_patient ON ingest.reading (patient_id, effective_at DESC);
CALL who.protect('ingest.reading');
CALL who.append_only('ingest.reading');

-- What could not become a reading. Without a registered gateway there is no practice, and no practice sees it.
CREATE TABLE ingest.refusal (
    event_id uuid PRIMARY KEY,
    caused_by uuid,
    practice_id int,
    gateway_id text NOT NULL,
    device_id text,
    hop text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    received_at timestamptz NOT NULL,
    raw bytea NOT NULL
);
CREATE INDEX ON ingest.refusal (practice_id, received_at DESC);
CREATE INDEX ON ingest.refusal (practice_id, reason);
CALL who.protect('ingest.refusal');

GRANT SELECT ON ingest.gateway, ingest.device, ingest.device_assignment, ingest.reading, ingest.refusal
    TO lamplight_pipeline, lamplight_web;
GRANT INSERT, UPDATE ON ingest.gateway, ingest.device, ingest.device_assignment TO lamplight_pipeline;
GRANT SELECT, INSERT ON ingest.reading_key TO lamplight_pipeline;
GRANT INSERT ON ingest.reading, ingest.refusal TO lamplight_pipeline;
