"""Converters, one a public set: its files become rows of the tuner."""
