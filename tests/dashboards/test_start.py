"""How the console is started."""

import pytest

from dashboards.__main__ import command


def test_it_listens_on_this_computer_alone_unless_told_otherwise() -> None:
    assert {"--server.port=8501", "--server.address=127.0.0.1"} <= set(command({}))
    told = command({"FLIGHTLOOP_CONSOLE_PORT": "9000", "FLIGHTLOOP_CONSOLE_ADDRESS": "0.0.0.0"})
    assert {"--server.port=9000", "--server.address=0.0.0.0"} <= set(told)


@pytest.mark.parametrize("port", ["", "x", "0", "70000", "-1"])
def test_a_bad_port_is_named(port: str) -> None:
    with pytest.raises(SystemExit, match="FLIGHTLOOP_CONSOLE_PORT"):
        command({"FLIGHTLOOP_CONSOLE_PORT": port})
