"""Rivals are scripts for an environment of their own: their libraries are not ours, so nothing of them is collected."""

collect_ignore_glob = ["*_rival.py"]
