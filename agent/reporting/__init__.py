"""Reports derived from the journal: figures, readiness, webhooks."""
