"""SQL backend: SQLite on one node, PostgreSQL on several."""
