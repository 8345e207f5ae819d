"""Checks that new experts have to pass before the platform uses them."""
