"""Who sees and works which queue. The database keeps practices apart; this keeps roles apart."""

from typing import Final

from alerts.concerns import Queue

_CLINICIANS: Final = frozenset({"nurse", "physician"})
_TEAM: Final = _CLINICIANS | {"coordinator"}

SEES: Final[dict[Queue, frozenset[str]]] = {
    Queue.CLINICAL: _TEAM | {"auditor"},
    Queue.ADHERENCE: _TEAM | {"auditor"},
    Queue.TECHNICAL: _TEAM | {"admin", "auditor"},
}
WORKS: Final[dict[Queue, frozenset[str]]] = {
    Queue.CLINICAL: _CLINICIANS,
    Queue.ADHERENCE: _TEAM,
    Queue.TECHNICAL: _TEAM | {"admin"},
}

ON_CALL: Final = ("nurse", "physician", "coordinator")
"""Who may be on the rota."""

CHAINS: Final = frozenset({"admin", "physician"})
"""Who says whom to call when nobody comes, what the practice promises, and who is on the rota."""


def seen_by(role: str) -> list[Queue]:
    """The queues of a role, in the order of the tabs.

    >>> [queue.value for queue in seen_by("admin")]
    ['technical']
    """
    return [queue for queue in Queue if role in SEES[queue]]
