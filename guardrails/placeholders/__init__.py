"""Placeholders: stable stand-ins for personal data in what a model reads and writes."""
