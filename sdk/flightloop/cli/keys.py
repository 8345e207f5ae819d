"""``flightloop keys``: manages the tenant's API keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from flightloop import Flightloop
from flightloop.cli.console import PlainConsole
from flightloop.cli.paging import every
from flightloop.keys import ApiKey, Role
from flightloop.subject import SpeaksFor

keys = typer.Typer(no_args_is_help=True, help="Manage API keys (admins only).")
console = PlainConsole()


def key_table(listed: Iterable[ApiKey]) -> Table:
    """Table of keys, one per row. Names are shown literally, not interpreted as markup."""
    table = Table(box=None, pad_edge=False)
    for title in ("id", "name", "role", "speaks for", "created", "revoked"):
        table.add_column(title)
    for key in listed:
        revoked = f"{key.revoked_at.astimezone():%Y-%m-%d %H:%M}" if key.revoked_at else ""
        whose = Text(key.subject.id if key.subject else key.speaks_for)
        table.add_row(key.id, Text(key.name), key.role, whose, f"{key.created_at.astimezone():%Y-%m-%d %H:%M}", revoked)
    return table


@keys.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Holder of the key.")],
    role: Annotated[
        Role,
        typer.Option(help="viewer: read; approver: also approve; operator: also run and stop; admin: also keys."),
    ],
    subject: Annotated[str | None, typer.Option(help="The only end user that the key speaks for.")] = None,
    speaks_for: Annotated[
        SpeaksFor | None, typer.Option(help="none: runs are anonymous; any, the default: runs name their subjects.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Another tenant; needs the deployment's own key.")] = None,
) -> None:
    """Create a key and show it once."""
    with Flightloop(context.obj) as client:
        made = client.keys.create(name=name, role=role, tenant_id=tenant, speaks_for=speaks_for, subject=subject)
    console.print(
        f"[dim]{made.id} · {made.role} · tenant {made.tenant_id}; it is not shown again[/dim]", highlight=False
    )
    console.print(made.key, highlight=False, soft_wrap=True)


@keys.command("list")
def list_keys(context: typer.Context) -> None:
    """List keys, newest first."""
    with Flightloop(context.obj) as client:
        listed = list(every(client.keys.list))
    console.print(key_table(listed) if listed else "no keys except the deployment's own")


@keys.command("revoke")
def revoke(
    context: typer.Context, key_id: Annotated[str, typer.Argument(help="Id of the key; see flightloop keys list.")]
) -> None:
    """Revoke a key within seconds."""
    with Flightloop(context.obj) as client:
        console.print(f"{client.keys.revoke(key_id).id} revoked", highlight=False)
