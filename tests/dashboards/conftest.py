"""The console in Streamlit's own test harness, against a fake platform on a free port."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from flightloop import Flightloop
from flightloop.testing import FakeServer
from flightloop.testing.scene import shop
from flightloop.testing.script import worker

CONSOLE = Path(__file__).parents[2] / "dashboards" / "console.py"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(shop(12), on_run=worker(lambda _: None)) as running:
        yield running


@pytest.fixture
def client(server: FakeServer) -> Iterator[Flightloop]:
    with Flightloop(server.url, server.api_key) as found:
        yield found


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, server: FakeServer) -> Iterator[Callable[..., AppTest]]:
    """Opens a page, by its file's name and its query, and logs in with the server's key, as an operator would."""
    monkeypatch.setenv("FLIGHTLOOP_URL", server.url)

    def opened(page: str, **query: str) -> AppTest:
        app = AppTest.from_file(str(CONSOLE), default_timeout=30)
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        app.text_input[0].set_value(server.api_key)
        app.button[0].click().run()
        if page != "overview":
            app.switch_page(f"views/{page}.py").run()
        assert [item.value for item in app.exception] == []
        return app

    yield opened
    st.cache_resource.clear()
