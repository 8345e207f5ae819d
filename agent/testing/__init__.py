"""Stand-ins for tests: a scripted model, tool hosts in this process, an API over a journal in memory."""
