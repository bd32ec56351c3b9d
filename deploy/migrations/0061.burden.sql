-- depends: 0030.alerts
-- The burden page counts a month's readings and the patients they are of: in the order of an index there is nothing to sort.

CREATE INDEX observation_watched ON alerts.observation (practice_id, patient_id, received_at) WHERE NOT history;
