-- depends: 0016.webhooks
-- How far a fetch of many pages has come ("glucose:3", an offset): the next turn goes on there. Empty: at the start.
ALTER TABLE ingest.webhook_fetch ADD COLUMN reached text NOT NULL DEFAULT '';
