"""An installation that applied 0040 before it was extended has, after the next migration, what a new one has."""

import psycopg
import pytest

from deploy import database
from deploy.settings import Secret

pytestmark = pytest.mark.stack

AS_BEFORE = """
DROP INDEX ccm.episode_move_readings_idx;
DROP INDEX ccm.time_entry_readings_idx;
DROP INDEX ccm.task_move_task_id_n_idx;
ALTER TABLE ccm.task_move DROP COLUMN n;
CREATE INDEX ON ccm.task_move (task_id, at);
"""

INDEXES = """SELECT tablename, indexdef FROM pg_indexes
              WHERE schemaname = 'ccm' AND tablename IN ('episode_move', 'time_entry', 'task_move') ORDER BY 1, 2"""


def test_an_older_installation_catches_up_and_a_new_one_does_not_change(fresh_database):
    with psycopg.connect(fresh_database.superuser, autocommit=True) as conn:
        new = conn.execute(INDEXES).fetchall()
        conn.execute(AS_BEFORE)
        conn.execute("DELETE FROM _yoyo_migration WHERE migration_id = '0044.ccm_since_0040'")
        assert conn.execute(INDEXES).fetchall() != new
        database.migrate(Secret(fresh_database.owner))
        assert conn.execute(INDEXES).fetchall() == new
        assert conn.execute(
            "SELECT is_identity FROM information_schema.columns WHERE table_schema = 'ccm' AND table_name = 'task_move' AND column_name = 'n'"
        ).fetchone() == ("YES",)
