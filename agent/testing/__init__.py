"""Test doubles: scripted models, in-process tool hosts, in-memory API, and a whole platform in this process."""
