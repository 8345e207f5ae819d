"""Executes leased runs: decide, gate, perform, context, compaction."""
