"""Tools of this project: plain functions. The model reads their type hints and docstrings."""

import sqlite3
from contextlib import closing
from typing import Annotated

from pydantic import Field

from flightloop import ToolContext, tool


def _open(context: ToolContext) -> sqlite3.Connection:
    # Tasks in tasks/*.jsonl are checked against this database because it is the data folder's only one.
    connection = sqlite3.connect(context.data / "reminders.db")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS reminders (key TEXT PRIMARY KEY, tenant TEXT, session TEXT, text TEXT)"
    )
    return connection


@tool(effect="keyed")
def add_reminder(text: Annotated[str, Field(max_length=200)], context: ToolContext) -> dict[str, str]:
    """Adds a reminder to the user's list.

    Args:
        text: what to remember, in the user's words
    """
    # The same key never adds twice, so a lost call can be repeated.
    with closing(_open(context)) as connection, connection:
        connection.execute(
            "INSERT OR IGNORE INTO reminders VALUES (?, ?, ?, ?)",
            (context.key, context.tenant_id, context.session_id, text),
        )
    return {"added": text}


@tool(effect="pure")
def list_reminders(context: ToolContext) -> list[str]:
    """Tells what is on the user's list, oldest first."""
    with closing(_open(context)) as connection:
        rows = connection.execute(
            # Clients choose the session ids, so two tenants may use the same one.
            "SELECT text FROM reminders WHERE tenant = ? AND session = ? ORDER BY rowid",
            (context.tenant_id, context.session_id),
        ).fetchall()
    return [text for (text,) in rows]
