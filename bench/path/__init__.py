"""Measures the path from the engine to a client's socket: throughput, delay, and code that runs per token."""
