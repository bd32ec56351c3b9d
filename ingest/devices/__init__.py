"""Decoders, one pure module per device family."""
