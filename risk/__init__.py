"""Risk: a reading becomes a score with its reasons."""
