"""A backend in SQL: SQLite on one node, PostgreSQL beyond it."""
