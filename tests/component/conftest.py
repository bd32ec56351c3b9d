"""Fixtures that several component tests start from."""

from tests.component.ccm_clinic import clinic

__all__ = ["clinic"]
