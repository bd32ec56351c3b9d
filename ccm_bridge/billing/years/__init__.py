"""Rules and prices as data: `rules-*.toml` and `prices-*.toml`, each with its dates, and the sources of all rules.

A new year is two new files. Nothing here carries the AMA's descriptors: the words beside a code are our own.
"""
