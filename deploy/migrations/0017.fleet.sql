-- depends: 0016.webhooks
-- The fleet: who asked to be a gateway, who said yes, which certificates are out, and what gateways were told to do.

ALTER TABLE ingest.gateway
    ADD COLUMN revoked_at timestamptz,  -- nothing it brings is anybody's from then on
    ADD COLUMN certificate_ends timestamptz;

-- A request for a certificate. The key never leaves the gateway; what is here is public.
CREATE TABLE ingest.enrolment (
    request_id uuid PRIMARY KEY,
    practice_id int NOT NULL REFERENCES who.practice,
    gateway_id text NOT NULL,
    request text NOT NULL,  -- PEM
    fingerprint text NOT NULL,  -- of its key: what the gateway shows and the admin compares
    renewal boolean NOT NULL DEFAULT false,  -- came over the gateway's own line: nobody need be asked
    state text NOT NULL CHECK (state IN ('waiting', 'approved', 'issued', 'refused')),
    asked_at timestamptz NOT NULL,
    decided_at timestamptz,
    decided_by text,
    certificate text,  -- PEM
    authority text,  -- PEM: whom the gateway shall trust
    serial text,  -- hexadecimal
    ends_at timestamptz,
    revoked_at timestamptz,
    CHECK (state <> 'issued' OR (certificate IS NOT NULL AND serial IS NOT NULL AND ends_at IS NOT NULL))
);
CREATE INDEX enrolment_open ON ingest.enrolment (state) WHERE state IN ('waiting', 'approved');
CREATE INDEX enrolment_of_gateway ON ingest.enrolment (gateway_id, asked_at DESC);
CALL who.protect('ingest.enrolment');

-- What a gateway was told to do, until it answered; told again while it has not.
CREATE TABLE ingest.command (
    command_id uuid PRIMARY KEY,
    practice_id int NOT NULL REFERENCES who.practice,
    gateway_id text NOT NULL REFERENCES ingest.gateway,
    kind text NOT NULL CHECK (kind IN ('resync', 'settings', 'certificate')),
    payload jsonb NOT NULL,  -- as it is said on the wire
    asked_at timestamptz NOT NULL,
    asked_by text NOT NULL,
    told_at timestamptz,
    times_told int NOT NULL DEFAULT 0,
    answered_at timestamptz,
    outcome text CHECK (outcome IN ('ack', 'nack')),
    detail text NOT NULL DEFAULT '',
    CHECK ((answered_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX command_open ON ingest.command (asked_at) WHERE answered_at IS NULL;
CREATE INDEX command_of_gateway ON ingest.command (gateway_id, asked_at DESC);
CALL who.protect('ingest.command');

GRANT SELECT, INSERT, UPDATE ON ingest.enrolment, ingest.command TO lamplight_pipeline;
GRANT SELECT ON ingest.enrolment, ingest.command TO lamplight_web;
GRANT UPDATE (state, decided_at, decided_by, revoked_at) ON ingest.enrolment TO lamplight_web;
GRANT INSERT (command_id, practice_id, gateway_id, kind, payload, asked_at, asked_by) ON ingest.command TO lamplight_web;
GRANT INSERT (gateway_id, practice_id) ON ingest.gateway TO lamplight_web;
GRANT UPDATE (revoked_at) ON ingest.gateway TO lamplight_web;
