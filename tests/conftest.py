"""What every test may use: the throw-away servers, and a header that says which ones."""

from hypothesis import HealthCheck, settings

from deploy.native import install
from deploy.native.stack import SOFTWARE

pytest_plugins = ["tests.component.ccm_clinic", "tests.fixtures_stack"]
collect_ignore_glob = ["bench/*_rival.py"]  # for an environment of their own: their libraries are not ours


def pytest_report_header():
    return "servers: " + ", ".join(
        f"{name} {version}" for name, version in install.describe(SOFTWARE).items()
    )


# How long one example takes says more about the machine than about the rule: slow machines must not fail. The gate tries
# the same examples everywhere, so that one commit has one verdict; `make fuzz` searches with new ones each time.
settings.register_profile("lamplight", deadline=None, print_blob=True, derandomize=True)
settings.register_profile(
    "search",
    deadline=None,
    print_blob=True,
    derandomize=False,
    max_examples=1000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("lamplight")
