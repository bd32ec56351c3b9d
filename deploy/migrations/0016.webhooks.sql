-- depends: 0010.ingest
-- Vendors' clouds that post to us: which practice each speaks for, how it proves itself, and what still is to be fetched.

-- A source is a row of ingest.gateway too: its readings pass the same registry as a home's.
CREATE TABLE ingest.webhook (
    source_id text PRIMARY KEY REFERENCES ingest.gateway (gateway_id),
    practice_id int NOT NULL REFERENCES who.practice,
    vendor text NOT NULL,
    scheme text NOT NULL CHECK (scheme IN ('header', 'basic', 'hmac', 'url')),
    header text NOT NULL,
    secret bytea NOT NULL,  -- sealed (ingest/seal.py)
    former_secret bytea,  -- still valid while the vendor is told the new one
    client bytea,  -- sealed: our id and secret at the vendor, for those that are fetched from
    made_at timestamptz NOT NULL DEFAULT now()
);
CALL who.protect('ingest.webhook');

-- Whose data at the vendor we may fetch.
CREATE TABLE ingest.webhook_account (
    source_id text NOT NULL REFERENCES ingest.webhook,
    account text NOT NULL,
    practice_id int NOT NULL,
    tokens bytea NOT NULL,  -- sealed: access and refresh token
    renewed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_id, account)
);
CALL who.protect('ingest.webhook_account');

-- "Data waits": written down before the vendor is answered, done when Kafka has what was fetched.
CREATE TABLE ingest.webhook_fetch (
    fetch_id uuid PRIMARY KEY,
    source_id text NOT NULL REFERENCES ingest.webhook,
    practice_id int NOT NULL,
    account text NOT NULL,
    since bigint,  -- seconds since 1970, as the vendor said
    until bigint,
    asked_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    tries int NOT NULL DEFAULT 0,
    done_at timestamptz,
    trouble text  -- why it is not done yet: a code, never a body
);
CREATE INDEX webhook_fetch_due ON ingest.webhook_fetch (due_at) WHERE done_at IS NULL;
CALL who.protect('ingest.webhook_fetch');

GRANT SELECT, INSERT, UPDATE ON ingest.webhook, ingest.webhook_account, ingest.webhook_fetch TO lamplight_pipeline;
-- The pages show which vendor a source is and what waits; secrets and tokens are none of their business.
GRANT SELECT (source_id, practice_id, vendor) ON ingest.webhook TO lamplight_web;
GRANT SELECT (source_id, practice_id, asked_at, tries, done_at, trouble) ON ingest.webhook_fetch TO lamplight_web;
