"""The whole API against its own schema: requests that fit it and requests that do not, over a socket and a database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)

from agent.api import create_app
from agent.run.commands import cancel
from agent.serve.http_server import running
from agent.store import sql_journal
from agent.testing.api import KEY, api_deps
from flightloop.events import RunCreated
from flightloop.runs import Budget, Run
from tests.postgres import Postgres

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@cache
def schema() -> Any:
    return schemathesis.openapi.from_dict(create_app(api_deps()).openapi())


def operations() -> list[Any]:
    return [found.ok() for found in schema().get_all_operations()]


@contextmanager
def served(database: str) -> Iterator[tuple[str, Run]]:
    """The API on a port, in a thread of its own, and a run that has ended."""
    ready: list[tuple[str, Run]] = []
    up, down = threading.Event(), threading.Event()

    async def serve() -> None:
        journal = sql_journal(database)
        made = await journal.create(RunCreated(agent="support", session_id="s", input="Hi.", budget=Budget()))
        await cancel(journal, made.run.tenant_id, made.run.id)  # its events end
        app = create_app(api_deps(journal=journal, keys=journal.keys))
        async with running(app) as url:
            ready.append((url, made.run))
            up.set()
            await asyncio.to_thread(down.wait)
        await journal.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert up.wait(30)
        yield ready[0]
    finally:
        down.set()
        thread.join()


@pytest.fixture
def apis(server: Postgres, tmp_path: Path) -> Iterator[list[tuple[httpx.Client, Run]]]:
    """One over each database."""
    with ExitStack() as stack:
        found = []
        for database in (f"sqlite:///{tmp_path}/journal.db", server.database()):
            url, run = stack.enter_context(served(database))
            found.append((stack.enter_context(httpx.Client(base_url=url, timeout=20)), run))
        yield found


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.label)
def test_every_answer_is_a_documented_one(
    apis: list[tuple[httpx.Client, Run]], operation: Any, mode: GenerationMode, pytestconfig: pytest.Config
) -> None:
    most = pytestconfig.getoption("--examples")

    @settings(max_examples=most, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode), st.booleans())
    def asked(case: Any, known: bool) -> None:
        for client, run in apis:
            if known and "run_id" in (case.path_parameters or {}):
                case.path_parameters["run_id"] = run.id
            answer = Response.from_httpx(send(client, case), verify=False)
            assert str(answer.status_code) in operation.definition.raw["responses"], answer.text
            case.validate_response(answer, checks=CHECKS)

    try:
        asked()
    except Unsatisfiable:
        pytest.skip("it takes nothing that could be wrong")


def send(client: httpx.Client, case: Any) -> httpx.Response:
    """By httpx: what schemathesis sends with does not get along with every HTTP library that may be installed."""
    given = case.as_transport_kwargs(base_url=str(client.base_url))
    headers = {**given.pop("headers", {}), "Authorization": f"Bearer {KEY}"}
    given.pop("cookies")  # the API has none
    if "data" in given:
        given["content"] = given.pop("data")
    try:
        return client.request(headers=headers, **given)
    except httpx.LocalProtocolError:  # HTTP has no words for it, as for a header that ends in a blank
        reject()
