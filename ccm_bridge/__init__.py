"""CCM bridge: an alert becomes care-management work, minutes, a reviewed month, claim lines."""
