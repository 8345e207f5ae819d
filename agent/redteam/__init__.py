"""Attacks on a project's own agents, tools and policies, with a model that does all that it is told."""
