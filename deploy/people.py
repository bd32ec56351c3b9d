"""How staff are reached when nobody comes: the accounts of the house, told to the alerts room."""

from collections.abc import Collection, Sequence
from uuid import UUID

from deploy.database import Connection


class Staff:
    """Addresses of the practice's people, as far as their accounts are active."""

    async def addresses(
        self, conn: Connection, practice_id: int, *, staff: Collection[UUID] = (), role: str | None = None
    ) -> Sequence[str]:
        rows = await conn.execute(
            """SELECT email FROM who.staff
                WHERE practice_id = %s AND active AND (staff_id = ANY(%s) OR role = %s) ORDER BY email""",
            (practice_id, list(staff), role),
        )
        return [email for (email,) in await rows.fetchall()]
