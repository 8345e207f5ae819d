"""What a worker does with a run that it has leased."""
