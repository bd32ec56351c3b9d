-- depends: 0070.registering
-- The command line enters people. A new password, or a person who leaves, ends what was signed in before.

CREATE FUNCTION who.end_sessions(wanted uuid) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = who, pg_temp
    AS $$ WITH ended AS (UPDATE who.session SET ended_at = now() WHERE staff_id = wanted AND ended_at IS NULL RETURNING 1)
          SELECT count(*) FROM ended $$;
REVOKE EXECUTE ON FUNCTION who.end_sessions(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION who.end_sessions(uuid) TO lamplight_pipeline;
