"""Erasure of a person, a session or old runs: journal, traces, logs and data sets."""
