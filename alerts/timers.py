"""What ends by itself: claims whose lease ran out, snoozes, rests. Nothing is held or quiet for ever."""

from datetime import datetime

from alerts import episode as ep
from alerts.acts import NOBODY, Last
from alerts.episode import Cause, Episode, State, Transition
from alerts.events import Move
from alerts.triage import Why


def ended(episode: Episode, last: Last, *, now: datetime) -> Transition | None:
    """The move an episode makes because its `until` has passed; None if it has not.

    Its age and due time stay as they were: what was claimed and forgotten comes back as late as it is.
    """
    if episode.until is None or episode.until > now:
        return None
    match episode.state:
        case State.CLAIMED:
            move, why = Move.HANDED_BACK, Why.LEASE_OVER
        case State.SNOOZED:
            move, why = Move.WOKEN, Why.SNOOZE_OVER
        case State.HANDLED:
            move, why = Move.CLOSED, Why.REST_OVER
        case _:
            return None
    sentence = f"{why.value.capitalize()}."
    cause = Cause(at=now, why=why.name.lower(), reason=sentence, event=last.caused_by)
    changes = NOBODY | ({"closed_at": now} if move is Move.CLOSED else {"back": sentence})
    made = ep.step(episode, move, cause, **changes)
    if not isinstance(made, Transition):  # the table and these lines disagree: a fault of ours
        raise RuntimeError(  # noqa: TRY004
            f"episode {episode.episode_id} is {episode.state}, its end wanted {move}: {made.sentence}"
        )
    return made
