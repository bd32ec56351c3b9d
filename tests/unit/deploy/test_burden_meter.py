"""The burden as metrics: every label from a closed set, also for a concern that nobody knows yet."""

from prometheus_client import REGISTRY

from alerts.burden import weigh
from alerts.burden_service import by_concern
from alerts.concerns import ABOUT, Queue
from alerts.episode import State
from alerts.events import Severity
from alerts.policy import DEFAULT
from alerts.report_store import Stand
from deploy.metrics import BurdenMeter
from tests.unit.alerts.test_burden import a_call, when


def test_the_burden_is_told_under_closed_labels():
    calls = [
        a_call(concern="high_pressure", came_at=when("09:10")),
        a_call(concern="swollen_ankles"),
        a_call(concern="low_glucose", severity="critical", again=True),
    ]
    burden = weigh(
        calls, patients=3, readings=9, since=when("00:00"), until=when("30d 00:00"), policy=DEFAULT, overdue=1
    )
    stand = Stand(queue=Queue.CLINICAL, severity=Severity.HIGH, state=State.WAITING, open=2, overdue=1)
    BurdenMeter().burden([stand], burden, by_concern(calls))

    def value(name, **labels):
        return REGISTRY.get_sample_value(f"lamplight_{name}", labels)

    assert value("queue_open", queue="clinical", severity="high", state="waiting") == 2
    assert value("queue_overdue", queue="clinical", severity="high") == 1
    assert value("queue_overdue", queue="technical", severity="watch") == 0
    assert value("burden_calls", severity="high", outcome="came") == 1
    assert value("burden_seconds", severity="high", until="came", quantile="0.5") == 600
    assert value("burden_again") == 1
    assert value("burden_concern_calls", concern="other") == 1
    assert value("burden_concern_calls", concern="swollen_ankles") is None
    concerns = {
        sample.labels["concern"]
        for family in REGISTRY.collect()
        if family.name == "lamplight_burden_concern_calls"
        for sample in family.samples
    }
    assert concerns == {*map(str, ABOUT), "other"}
