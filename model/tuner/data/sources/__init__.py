"""Converters, one per public set, from its files to rows."""
