"""Test doubles: scripted model, in-process tool hosts, in-memory API."""
