"""Loads project folders: agents, policies, tools, intents."""
