"""Trains the tagger of entities on composed sentences: ``python -m guardrails.entity_training``."""
