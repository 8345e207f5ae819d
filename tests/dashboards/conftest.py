"""The console in Streamlit's own test harness, against a platform on a scripted model and a free port."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import streamlit as st
from streamlit.dataframe_util import convert_arrow_bytes_to_pandas_df
from streamlit.testing.v1 import AppTest

from agent.testing.platform import Platform
from agent.testing.scene import shop
from flightloop import Flightloop

CONSOLE = Path(__file__).parents[2] / "dashboards" / "console.py"


@pytest.fixture
def platform() -> Iterator[Platform]:
    with shop(12) as running:
        yield running


@pytest.fixture
def client(platform: Platform) -> Iterator[Flightloop]:
    with Flightloop(platform.url, platform.api_key) as found:
        yield found


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, platform: Platform) -> Iterator[Callable[..., AppTest]]:
    """Opens a page, by its file's name and its query, and logs in with the platform's key, as an operator would."""
    monkeypatch.setenv("FLIGHTLOOP_URL", platform.url)

    def opened(page: str, **query: str) -> AppTest:
        app = AppTest.from_file(str(CONSOLE), default_timeout=60)
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        app.text_input[0].set_value(platform.api_key)
        app.button[0].click().run()
        if page != "overview":
            app.switch_page(f"views/{page}.py").run()
        assert [item.value for item in app.exception] == []
        return app

    yield opened
    st.cache_resource.clear()


def charted(chart: Any) -> pd.DataFrame:
    """The data of a Vega-Lite chart that has one table of them."""
    return convert_arrow_bytes_to_pandas_df(chart.data.data)
