"""An address that is another web server's: one error that names it, and no endless asking."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flightloop import AsyncFlightloop, Flightloop, errors


class Page(BaseHTTPRequestHandler):
    """As Streamlit: a page for whatever is read, and nothing else."""

    kind, body = "text/html", b"<!doctype html>"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", self.kind)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def do_POST(self) -> None:
        self.send_error(405)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class Json(Page):
    kind, body = "application/json", b'{"message": "hello"}'


@pytest.fixture
def foreign(request: pytest.FixtureRequest) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), getattr(request, "param", Page))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("foreign", "said"), [(Page, "text/html"), (Json, "data: Field required")], indirect=["foreign"]
)
def test_an_answer_of_something_else_names_the_address(foreign: str, said: str) -> None:
    with Flightloop(foreign, "key") as client, pytest.raises(errors.NotFlightloop) as caught:
        client.runs.list()
    assert caught.value.message.startswith(f"{foreign}/v1/runs is not a flightloop API")
    assert said in caught.value.message
    assert not caught.value.retryable


async def test_the_async_client_says_the_same(foreign: str) -> None:
    async with AsyncFlightloop(foreign, "key") as client:
        with pytest.raises(errors.NotFlightloop, match=foreign):
            await client.runs.list()
        with pytest.raises(errors.NotFlightloop, match=foreign):
            await anext(aiter(client.runs.stream("run_1")))


def test_a_page_is_no_stream_to_wait_for(foreign: str) -> None:
    with Flightloop(foreign, "key") as client, pytest.raises(errors.NotFlightloop, match=foreign):
        next(client.runs.stream("run_1"))


def test_a_refusal_of_something_else_names_the_address(foreign: str) -> None:
    with Flightloop(foreign, "key") as client, pytest.raises(errors.InvalidRequest) as caught:
        client.runs.cancel("run_1")
    assert (
        caught.value.message
        == f"{foreign}/v1/runs/run_1/cancel returned status 405, which is not a response of a flightloop API"
    )
