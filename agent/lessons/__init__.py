"""Lessons: makes training data from a project's cases and from journaled runs."""
