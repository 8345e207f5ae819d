"""Where address and key come from."""

from pathlib import Path

import pytest

from flightloop.errors import ConfigError
from flightloop.settings import DEFAULT_URL, resolve


def test_arguments_go_before_the_environment(tmp_path: Path) -> None:
    environ = {"FLIGHTLOOP_URL": "http://env:1/v1", "FLIGHTLOOP_API_KEY": "env", "FLIGHTLOOP_HOME": str(tmp_path)}
    (tmp_path / "key").write_text("file\n")
    assert resolve("http://arg:2/", "arg", environ=environ).base_url == "http://arg:2"
    assert resolve("http://arg:2/", "arg", environ=environ).api_key == "arg"
    assert resolve(environ=environ).base_url == "http://env:1"
    assert resolve(environ=environ).api_key == "env"
    del environ["FLIGHTLOOP_API_KEY"]
    assert resolve(environ=environ).api_key == "file"
    found = [resolve("http://a", key, environ=environ | more).key_from for key, more in (("k", {}), (None, {}))]
    assert found == [None, str(tmp_path / "key")]
    assert resolve(environ=environ | {"FLIGHTLOOP_API_KEY": "env"}).key_from == "FLIGHTLOOP_API_KEY"


def test_defaults(tmp_path: Path) -> None:
    assert resolve(api_key="k", environ={}).base_url == DEFAULT_URL
    assert resolve(api_key="k", environ={"FLIGHTLOOP_PORT": "18200"}).base_url == "http://127.0.0.1:18200"
    assert resolve(api_key="k", environ={"FLIGHTLOOP_PORT": "0"}).base_url == DEFAULT_URL
    both = {"FLIGHTLOOP_PORT": "18200", "FLIGHTLOOP_URL": "http://example.com"}
    assert resolve(api_key="k", environ=both).base_url == "http://example.com"


@pytest.mark.parametrize("content", [None, " \n"])
def test_no_key_says_what_to_set(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
    with pytest.raises(ConfigError, match="key"):
        resolve(environ={"FLIGHTLOOP_HOME": str(tmp_path)})


@pytest.mark.parametrize("key", [b"k\xc3\xb6nig", b"k\xffnig", b"two\nlines"])
def test_a_key_that_no_header_can_have_is_refused(tmp_path: Path, key: bytes) -> None:
    (tmp_path / "key").write_bytes(key)
    with pytest.raises(ConfigError, match="must have printable ASCII"):
        resolve(environ={"FLIGHTLOOP_HOME": str(tmp_path)})


def test_an_address_without_scheme_is_refused() -> None:
    with pytest.raises(ConfigError, match="FLIGHTLOOP_URL"):
        resolve("127.0.0.1:8000", "k")


@pytest.mark.parametrize("url", ["http://host:port", "http://[::1", "https://"])
def test_a_malformed_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="FLIGHTLOOP_URL"):
        resolve(url, "k")


def test_no_proxy_on_the_way_to_this_computer() -> None:
    assert not resolve("http://127.0.0.1:1", "k").proxied
    assert resolve("https://agents.example.org", "k").proxied


def test_the_key_is_not_shown_with_the_settings() -> None:
    assert "a-secret" not in repr(resolve(api_key="a-secret", environ={}))
