"""The console answers requests that are its own alone: no other site's, and none under a name that is not its own."""

import http.client
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from dashboards.origin import OwnOrigin
from tests.console import console

UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-protocol": "streamlit, PLACEHOLDER_AUTH_TOKEN",
}
FOREIGN = [
    "https://evil.example",
    "null",
    "http://127.0.0.1:1",
    "http://localhost:1",
    "http://127.0.0.1",
    "//",
    "http://[",
]
REBOUND = ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:{port}", "192.168.1.5", ""]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A console whose environment tries to take Streamlit's own guard away."""
    weaker = {"STREAMLIT_SERVER_ENABLE_CORS": "false", "STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION": "false"}
    with console("http://127.0.0.1:1", tmp_path_factory.mktemp("console"), weaker) as found:
        yield found


def port(url: str) -> str:
    return url.rsplit(":", 1)[1]


def status(url: str, path: str, headers: dict[str, str]) -> int:
    with httpx.stream("GET", url + path, headers=headers, trust_env=False) as answer:
        return answer.status_code


def opens(url: str, **headers: str) -> int:
    """101 where the console takes the websocket that a page talks to it by."""
    return status(url, "/_stcore/stream", UPGRADE | headers)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_its_own_pages_reach_it(url: str, host: str) -> None:
    own = f"{host}:{port(url)}"
    assert opens(url, host=own, origin=f"http://{own}") == 101
    assert status(url, "/", {"host": own, "origin": f"http://{own}"}) == 200


def test_a_first_visit_has_no_origin(url: str) -> None:
    assert status(url, "/", {}) == 200
    assert opens(url) == 101


@pytest.mark.parametrize("origin", FOREIGN)
def test_pages_of_others_do_not(url: str, origin: str) -> None:
    assert opens(url, origin=origin) == 403
    for path in ("/", "/_stcore/health", "/_stcore/host-config", "/media/x"):
        assert status(url, path, {"origin": origin}) == 403


@pytest.mark.parametrize("host", REBOUND)
def test_a_name_that_is_made_to_mean_this_computer_does_not_lead_here(url: str, host: str) -> None:
    """DNS rebinding: Host and Origin agree, and are an attacker's."""
    name = host.format(port=port(url))
    assert opens(url, host=name, origin=f"http://{name}") in (400, 403)
    assert status(url, "/", {"host": name}) in (400, 403)


def test_no_site_may_frame_it_or_learn_its_addresses(url: str) -> None:
    for headers in ({}, {"origin": "https://evil.example"}):
        answer = httpx.get(url, headers=headers, trust_env=False)
        assert answer.headers["content-security-policy"] == "frame-ancestors 'none'; img-src 'self' data: blob:"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("address", "host", "origin", "expected"),
    [
        ("127.0.0.1", "console.example", "https://console.example", 200),
        ("127.0.0.1", "127.0.0.1:8501", "https://console.example", 200),  # a proxy that sends the Host of its own
        ("127.0.0.1", "console.example", "https://other.example", 403),
        ("127.0.0.1", "10.0.0.5:8501", "http://10.0.0.5:8501", 403),
        ("10.0.0.5", "10.0.0.5:8501", "http://10.0.0.5:8501", 200),
        ("10.0.0.5", "evil.example:8501", "http://evil.example:8501", 403),
        ("0.0.0.0", "10.0.0.5:8501", "http://10.0.0.5:8501", 200),
        ("::", "[fd00::5]:8501", "http://[fd00::5]:8501", 200),
        ("0.0.0.0", "evil.example:8501", "http://evil.example:8501", 403),
    ],
)
async def test_what_is_its_own_follows_from_where_it_listens(
    address: str, host: str, origin: str, expected: int
) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guarded = OwnOrigin(inner, address, ["console.example"])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://console") as client:
        assert (await client.get("/", headers={"host": host, "origin": origin})).status_code == expected


def test_two_hosts_are_none(url: str) -> None:
    request = http.client.HTTPConnection("127.0.0.1", int(port(url)))
    request.putrequest("GET", "/", skip_host=True)
    for host in (f"127.0.0.1:{port(url)}", "evil.example"):
        request.putheader("Host", host)
    request.endheaders()
    assert request.getresponse().status in (400, 403)
    request.close()
