"""What measurements and the demonstration start."""

import socket
from pathlib import Path

import pytest
from rich.console import Console

from bench import demo
from bench.platform import Platform, PlatformFailed
from flightloop.errors import ConfigError
from tests.console import free_port


def test_a_platform_never_takes_another_one_for_its_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} .* is taken"), Platform(tmp_path, port):
            pass
    assert not (tmp_path / "platform.log").exists()


def test_the_login_link_that_a_platform_tells_is_for_its_owner_alone(tmp_path: Path) -> None:
    log = tmp_path / "platform.log"
    log.touch(0o644)
    with pytest.raises(PlatformFailed, match="no-such-option"), Platform(tmp_path, free_port(), ["--no-such-option"]):
        pass
    assert log.stat().st_mode & 0o777 == 0o600
    assert Platform(tmp_path).console is None
    log.write_text(
        "API         http://127.0.0.1:1\nConsole     http://127.0.0.1:2/?token=t   (the link logs in once)\n"
    )
    assert Platform(tmp_path).console == "http://127.0.0.1:2/?token=t"


def test_the_demo_says_which_setting_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLIGHTLOOP_PORT", "abc")
    assert demo.main() == 1
    assert "FLIGHTLOOP_PORT" in capsys.readouterr().out


def test_the_demo_does_without_prometheus_where_another_one_has_its_port(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "prometheus").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("FLIGHTLOOP_PROMETHEUS_PORT", raising=False)
    console = Console(width=200)
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(demo, "PROMETHEUS_PORT", other.getsockname()[1])
        assert demo.options(console) == ["--no-prometheus"]
        assert "FLIGHTLOOP_PROMETHEUS_PORT" in capsys.readouterr().out
        monkeypatch.setenv("FLIGHTLOOP_PROMETHEUS_PORT", "9091")
        assert demo.options(console) == []
    monkeypatch.delenv("FLIGHTLOOP_PROMETHEUS_PORT")
    assert demo.options(console) == []
