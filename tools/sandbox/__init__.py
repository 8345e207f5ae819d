"""Sandbox of every tool process: limits what it may read, write, start and connect to."""
