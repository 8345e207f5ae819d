"""Composes training conversations from tool families, values and situations."""
