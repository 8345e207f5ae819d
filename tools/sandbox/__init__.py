"""The sandbox that every tool process runs in: what it may read, write, start and connect to."""
