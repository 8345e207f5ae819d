"""What others are told of runs: figures, readiness, webhooks, logs."""
