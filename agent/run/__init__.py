"""Runs: events, state, budgets and the journal port."""
