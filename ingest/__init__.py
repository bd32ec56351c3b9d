"""Ingest: a message from a device becomes a reading about a patient, or a refusal with a reason."""
