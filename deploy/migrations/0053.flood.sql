-- depends: 0015.slots
-- Of a flood as much is kept as can be: so many of one kind and hour, or so many bytes of them, whichever is first.

ALTER TABLE ingest.refusal_tally ADD COLUMN bytes bigint NOT NULL DEFAULT 0;  -- of all of them, as they came sealed
