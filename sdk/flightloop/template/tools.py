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
        "CREATE TABLE IF NOT EXISTS reminders (key TEXT PRIMARY KEY, tenant TEXT, owner TEXT, session TEXT, text TEXT)"
    )
    return connection


def _owner(context: ToolContext) -> str:
    """The signed-in user, or "" for nobody. The platform vouches for it; the model can't choose it."""
    return context.subject.id if context.subject else ""


@tool(effect="keyed")  # the same key never adds twice, so a lost call can be repeated
def add_reminder(text: Annotated[str, Field(max_length=200)], context: ToolContext) -> dict[str, str]:
    """Reminds the user of something: adds it to the user's list.

    Args:
        text: what to remember, in the user's words
    """
    with closing(_open(context)) as connection, connection:
        connection.execute(
            "INSERT OR IGNORE INTO reminders VALUES (?, ?, ?, ?, ?)",
            (context.key, context.tenant_id, _owner(context), context.session_id, text),
        )
    return {"added": text}


# A reminder's text may come from a mail that somebody pasted, so only the owner is the tool's own word.
@tool(effect="pure", returns_untrusted=True, trusted_fields=("owner",))
def list_reminders(context: ToolContext) -> list[dict[str, str]]:
    """Tells what is on the user's list, oldest first."""
    with closing(_open(context)) as connection:
        rows = connection.execute(
            # A user sees their own rows in every session, nobody in particular those of the session. Clients choose
            # the session ids, so two tenants may use the same one.
            "SELECT owner, text FROM reminders WHERE tenant = ? AND owner = ? AND (owner != '' OR session = ?)"
            " ORDER BY rowid",
            (context.tenant_id, _owner(context), context.session_id),
        ).fetchall()
    return [{"owner": owner, "text": text} for owner, text in rows]
