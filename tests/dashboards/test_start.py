"""How the console is started."""

import sys

import pytest

from dashboards.__main__ import main, settings


def test_it_listens_on_this_computer_alone_unless_told_otherwise() -> None:
    assert (settings({}).port, settings({}).address) == (8501, "127.0.0.1")
    options = settings({"FLIGHTLOOP_CONSOLE_PORT": "9000", "FLIGHTLOOP_CONSOLE_ADDRESS": "0.0.0.0"}).streamlit()
    assert (options["server.port"], options["server.address"]) == (9000, "0.0.0.0")


@pytest.mark.parametrize("port", ["", "x", "0", "70000", "-1"])
def test_a_bad_port_is_named(port: str) -> None:
    with pytest.raises(SystemExit, match="FLIGHTLOOP_CONSOLE_PORT"):
        settings({"FLIGHTLOOP_CONSOLE_PORT": port})


@pytest.mark.parametrize("host", ["https://console.example", "console.example:443", "*"])
def test_a_host_that_is_no_name_is_told(host: str) -> None:
    with pytest.raises(SystemExit, match="FLIGHTLOOP_CONSOLE_HOSTS"):
        settings({"FLIGHTLOOP_CONSOLE_HOSTS": f"fine.example, {host}"})


@pytest.mark.parametrize(
    ("argument", "status", "said"), [("--help", 0, "FLIGHTLOOP_CONSOLE_PORT"), ("--prot", 2, "--prot")]
)
def test_help_and_unknown_options_start_nothing(
    argument: str, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["dashboards", argument])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status
    captured = capsys.readouterr()
    assert said in captured.out + captured.err
