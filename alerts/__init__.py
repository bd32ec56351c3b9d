"""Alerts: a score becomes, or does not become, something a nurse must see."""
