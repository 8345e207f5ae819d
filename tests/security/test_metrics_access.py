"""Without a key, figures go to a program of this machine that asks for this machine: to no proxy and no web page."""

from __future__ import annotations

import httpx
import pytest

from agent.api import create_app
from agent.config import load_settings
from agent.serve.http_server import running
from agent.serve.prometheus import prometheus_config
from agent.testing.api import KEY, api_deps

NEARBY = ["127.0.0.1", "127.0.0.1:8000", "127.5.5.5", "localhost", "LOCALHOST:8000", "[::1]:8000", "[::1]"]
FOREIGN = ["evil.example", "evil.example:8000", "localhost.evil.example", "10.0.0.5:8000", "127.0.0.1.evil.example",
           "0.0.0.0:8000", "[2001:db8::1]:8000", "localhost@evil.example", "[::1].evil.example", ""]  # fmt: skip
PROXIED = ["Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Server",
           "X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "X-Envoy-External-Address"]  # fmt: skip


def asking(client: str = "127.0.0.1", key: str | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(api_deps()), raise_app_exceptions=False, client=(client, 1234))
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers)


async def status(path: str, headers: dict[str, str] | None = None, **of: str) -> int:
    async with asking(**of) as client:
        return (await client.get(path, headers=headers)).status_code


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
async def test_a_program_of_this_machine_needs_no_key(path: str) -> None:
    for host in NEARBY:
        assert await status(path, {"host": host}) == 200, host
    for client in ("::1", "::ffff:127.0.0.1"):
        assert await status(path, client=client) == 200, client


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
@pytest.mark.slow
async def test_a_foreign_host_a_proxy_and_another_machine_need_one(path: str) -> None:
    strangers = [{"host": host} for host in FOREIGN] + [{name: "1.1 proxy"} for name in PROXIED]
    for headers in strangers:
        assert await status(path, headers) == 401, headers
        assert await status(path, headers, key=KEY) == 200, headers
        assert await status(path, headers, key="another-key-0123456789") == 401, headers
    for client in ("203.0.113.9", "10.0.0.5", "testclient"):
        assert await status(path, client=client) == 401
        assert await status(path, client=client, key=KEY) == 200


async def test_two_hosts_are_none() -> None:
    async with asking() as client:
        answer = await client.get("/metrics", headers=[("host", "127.0.0.1"), ("host", "evil.example")])
        assert answer.status_code == 400


async def test_it_holds_on_a_real_socket() -> None:
    async with running(create_app(api_deps())) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/metrics")).status_code == 200
        for headers in ({"host": "evil.example"}, {"via": "1.1 vegur"}, {"x-forwarded-for": "127.0.0.1"}):
            assert (await client.get("/metrics", headers=headers)).status_code == 401


async def test_a_page_does_not_become_another_machine_by_a_header() -> None:
    page = {"host": "rebound.example:8000", "x-forwarded-for": "1.2.3.4"}
    async with running(create_app(api_deps())) as url, httpx.AsyncClient(base_url=url) as client:
        for path in ("/openapi.json", "/metrics", "/readyz"):
            assert (await client.get(path, headers=page)).status_code == 401, path


async def test_a_rebound_page_reads_nothing_but_that_something_lives() -> None:
    """DNS rebinding: a page's own name leads to 127.0.0.1, so its requests come from this machine under that name."""
    page = {"host": "rebound.example:8000"}
    async with asking() as client:
        for path in ("/openapi.json", "/metrics", "/readyz", "/v1/runs", "/v1/overview"):
            assert (await client.get(path, headers=page)).status_code == 401, path
        assert (await client.post("/v1/interrupts", json={}, headers=page)).status_code == 401
        assert (await client.get("/healthz", headers=page)).json() == {"status": "ok"}
        for path in ("/docs", "/redoc"):
            assert (await client.get(path, headers=page)).status_code == 404


@pytest.mark.parametrize(("client", "host"), [("127.0.0.1", "localhost:8000"), ("127.0.0.1", "10.0.0.5:8000"),
                                              ("203.0.113.9", "api.example")])  # fmt: skip
async def test_the_documents_of_the_api_stay_open_to_others(client: str, host: str) -> None:
    assert await status("/openapi.json", {"host": host}, client=client) == 200


@pytest.mark.parametrize(
    ("bound", "target", "keyed"),
    [
        ("127.0.0.1", "127.0.0.1:8000", False),
        ("localhost", "localhost:8000", False),
        ("0.0.0.0", "127.0.0.1:8000", False),
        ("::", "[::1]:8000", False),
        ("10.0.0.5", "10.0.0.5:8000", True),
    ],
)
def test_prometheus_is_told_where_it_needs_the_key(bound: str, target: str, keyed: bool) -> None:
    config = prometheus_config(load_settings(host=bound), 9090)
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "flightloop"]
    assert job["static_configs"] == [{"targets": [target]}]
    assert ("authorization" in job) is keyed
