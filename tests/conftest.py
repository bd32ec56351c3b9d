"""What every test may use: the throw-away servers, and a header that says which ones."""

from deploy.native import install
from deploy.native.stack import SOFTWARE

pytest_plugins = ["tests.fixtures_stack"]


def pytest_report_header():
    return "servers: " + ", ".join(
        f"{name} {version}" for name, version in install.describe(SOFTWARE).items()
    )
