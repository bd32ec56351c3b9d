-- depends: 0010.ingest
-- Set aside, and what became of it: bytes sealed, floods counted, replays, decisions about whose a reading is, and who did what.

ALTER TABLE ingest.device ADD COLUMN shared boolean NOT NULL DEFAULT false;  -- by several people: nobody's until a person says
GRANT UPDATE (shared) ON ingest.device TO lamplight_web;

ALTER TABLE ingest.reading ADD COLUMN released_at timestamptz;  -- set aside at first: when a person let it through

ALTER TABLE ingest.refusal
    ADD COLUMN place text,                     -- the topic below the gateway's name; NULL: from before it was kept
    ADD COLUMN part int NOT NULL DEFAULT 0,
    ADD COLUMN clock_error_s double precision,
    ADD COLUMN key_id text,                    -- raw is sealed under this key; NULL: from before there was one
    ADD COLUMN kind_device text NOT NULL DEFAULT '',  -- the device if it is registered: part of the kind it belongs to
    ADD COLUMN state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replaying', 'released', 'resolved')),
    ADD COLUMN tries int NOT NULL DEFAULT 1,   -- times it came to the door
    ADD COLUMN answer text,                    -- what the door said the last time it came again
    ADD COLUMN reading_id uuid,                -- what it became
    ADD COLUMN settled_at timestamptz,
    ADD CHECK ((state IN ('released', 'resolved')) = (settled_at IS NOT NULL));
UPDATE ingest.refusal r SET kind_device = d.device_id
  FROM ingest.device d WHERE d.device_id = r.device_id AND d.practice_id = r.practice_id;
CREATE INDEX refusal_of_kind ON ingest.refusal (gateway_id, kind_device, hop, reason, received_at DESC);
CREATE INDEX refusal_open ON ingest.refusal (practice_id, hop, received_at DESC) WHERE state IN ('open', 'replaying');
GRANT UPDATE (state, tries, answer, reading_id, settled_at) ON ingest.refusal TO lamplight_pipeline, lamplight_web;
GRANT UPDATE (raw, key_id) ON ingest.refusal TO lamplight_pipeline;  -- to seal what was kept before there was a key

-- How often what was refused, by the hour: a flood is a number. `kept` of them lie in ingest.refusal with their bytes.
CREATE TABLE ingest.refusal_tally (
    gateway_id text NOT NULL,
    kind_device text NOT NULL,                 -- '' where the device is not registered: strangers make up names
    hop text NOT NULL,
    reason text NOT NULL,
    hour timestamptz NOT NULL,
    practice_id int,
    times int NOT NULL,
    kept int NOT NULL CHECK (kept BETWEEN 0 AND times),
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (gateway_id, kind_device, hop, reason, hour)
);
INSERT INTO ingest.refusal_tally
SELECT gateway_id, kind_device, hop, reason, date_trunc('hour', received_at, 'UTC'), min(practice_id), count(*), count(*),
       min(received_at), max(received_at)
  FROM ingest.refusal GROUP BY 1, 2, 3, 4, 5;
CREATE INDEX ON ingest.refusal_tally (practice_id, hour);
CALL who.protect('ingest.refusal_tally');
GRANT SELECT, INSERT, UPDATE ON ingest.refusal_tally TO lamplight_pipeline;
GRANT SELECT ON ingest.refusal_tally TO lamplight_web;

-- Who looked at, replayed, resolved or decided what, when and why. `about`: a refusal or a reading.
CREATE TABLE ingest.handling (
    act_id uuid PRIMARY KEY,
    practice_id int,
    about uuid NOT NULL,
    act text NOT NULL CHECK (act IN ('looked', 'replayed', 'resolved', 'decided', 'nobody', 'withdrew', 'corrected',
                                     'shared', 'unshared')),
    at timestamptz NOT NULL,
    by uuid,                                   -- NULL: from the command line
    by_name text NOT NULL,
    reason text NOT NULL DEFAULT '',
    patient_id uuid,                           -- whom they decided for
    device_id text
);
CREATE INDEX ON ingest.handling (about, at);
CALL who.protect('ingest.handling');
GRANT SELECT, INSERT ON ingest.handling TO lamplight_pipeline, lamplight_web;
CALL who.append_only('ingest.handling');

-- What is to come to the door again; ingest takes it from here, and says what became of it.
CREATE TABLE ingest.replay (
    replay_id uuid PRIMARY KEY,
    refusal_id uuid NOT NULL REFERENCES ingest.refusal (event_id),
    practice_id int,
    patient_id uuid REFERENCES who.patient,    -- a person said whose it is; NULL: the registry decides
    asked_at timestamptz NOT NULL,
    done_at timestamptz,
    answer text,
    CHECK ((done_at IS NULL) = (answer IS NULL))
);
CREATE UNIQUE INDEX one_replay_at_a_time ON ingest.replay (refusal_id) WHERE done_at IS NULL;
CREATE INDEX replay_waiting ON ingest.replay (asked_at) WHERE done_at IS NULL;
CALL who.protect('ingest.replay');
GRANT SELECT, INSERT ON ingest.replay TO lamplight_pipeline, lamplight_web;
GRANT UPDATE (done_at, answer) ON ingest.replay TO lamplight_pipeline;
