-- The three roles Lamplight connects as. Run once by a superuser in Lamplight's own, empty database:
--   OWNER_PASSWORD=... PIPELINE_PASSWORD=... WEB_PASSWORD=... psql -d lamplight -f roles.sql
-- None is a superuser, none bypasses row-level security; only the owner may change the schema.
\set ON_ERROR_STOP on
\getenv owner_password OWNER_PASSWORD
\getenv pipeline_password PIPELINE_PASSWORD
\getenv web_password WEB_PASSWORD

CREATE ROLE lamplight_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE lamplight_pipeline LOGIN PASSWORD :'pipeline_password';
CREATE ROLE lamplight_web LOGIN PASSWORD :'web_password';

CREATE EXTENSION IF NOT EXISTS timescaledb;
CREATE EXTENSION IF NOT EXISTS btree_gist;
SELECT current_database() AS database \gset
ALTER DATABASE :"database" OWNER TO lamplight_owner;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"database" TO lamplight_pipeline, lamplight_web;
