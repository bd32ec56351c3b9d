"""Offline: how the shipped readings and forecasts were learnt. Nothing here runs beside a patient."""
