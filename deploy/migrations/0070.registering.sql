-- depends: 0053.flood
-- A practice registers its devices itself, on the page Devices or the command line; who did is written down.

GRANT INSERT (device_id, practice_id, family, model) ON ingest.device TO lamplight_web;

ALTER TABLE ingest.handling
    DROP CONSTRAINT handling_act_check,
    ADD CONSTRAINT handling_act_check CHECK (act IN ('looked', 'replayed', 'resolved', 'decided', 'nobody', 'withdrew',
        'corrected', 'shared', 'unshared', 'registered', 'assigned', 'ended'));
