"""What measurements and the demonstration start."""

import socket
from pathlib import Path

import pytest

from bench import demo
from bench.platform import Platform
from flightloop.errors import ConfigError


def test_a_platform_never_takes_another_one_for_its_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} .* is taken"), Platform(tmp_path, port):
            pass
    assert not (tmp_path / "platform.log").exists()


def test_the_demo_says_which_setting_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLIGHTLOOP_PORT", "abc")
    assert demo.main() == 1
    assert "FLIGHTLOOP_PORT" in capsys.readouterr().out
