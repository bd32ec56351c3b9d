-- depends: 0014.withdrawal
-- Shared cuffs: which patient a user button belongs to, from when until when; and who gave which device to whom.

ALTER TABLE ingest.device_assignment
    ADD COLUMN slot smallint CHECK (slot BETWEEN 0 AND 254),  -- the user button of a shared cuff; NULL: the whole device
    DROP CONSTRAINT device_assignment_pkey,
    DROP CONSTRAINT one_patient_at_a_time,
    ADD CONSTRAINT one_patient_at_a_time EXCLUDE USING gist
        (device_id WITH =, int4range(coalesce(slot, 0), coalesce(slot, 254), '[]') WITH &&, period WITH &&);
CREATE INDEX ON ingest.device_assignment (device_id);

-- A page may give a device to somebody and end it; it may not rewrite whose it was.
GRANT INSERT (device_id, practice_id, patient_id, period, slot), UPDATE (period) ON ingest.device_assignment TO lamplight_web;

ALTER TABLE ingest.handling
    DROP CONSTRAINT handling_act_check,
    ADD CONSTRAINT handling_act_check CHECK (act IN ('looked', 'replayed', 'resolved', 'decided', 'nobody', 'withdrew',
        'corrected', 'shared', 'unshared', 'assigned', 'ended'));
