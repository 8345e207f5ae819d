"""Text of models, tools and users can't steer the terminal that it is printed to."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress

import pytest

from agent.serve.logs import MOST_RECORDS
from dashboards.components import approvals, style
from flightloop.approvals import Approval, DryRun
from flightloop.cli.console import PlainConsole, counting_bar
from flightloop.cli.errors import one_line
from flightloop.cli.keys import key_table
from flightloop.cli.render import evidence, whole
from flightloop.errors import Forbidden
from flightloop.keys import ApiKey


@pytest.mark.parametrize(
    "hostile", ["\x1b[2K\rapproved", "\x1b]0;title\x07", "\x9b31m", "\x08\x08", "\u202egnp.exe", "\u2066x\u2069"]
)
def test_what_steers_a_terminal_is_shown_and_not_sent(hostile: str) -> None:
    written = io.StringIO()
    console = PlainConsole(file=written, force_terminal=True, color_system=None, width=80)
    console.print(f"reason: {hostile}", markup=False)
    assert hostile not in written.getvalue()
    assert not set(written.getvalue()) & set("\x1b\r\x07\x08\x9b\u202e\u2066\u2069")


LOGGING = """
import logging
import structlog
from agent.serve.logs import log_to_stderr

log_to_stderr("info")
hostile = "\\x1b[2K\\r\\x9b31m\\u202e4111111111111111"
logging.getLogger("mcp.client").warning("Unknown event: %s\\nERROR:agent:forged %s", hostile, "x" * 50_000)
structlog.get_logger().warning("MCP", error=hostile)
for number in range(1000):
    logging.getLogger("mcp.flood").warning("another")
try:
    raise ValueError(hostile)
except ValueError:
    logging.getLogger("mcp.client").exception("failed")
    structlog.get_logger().exception("failed")
"""


@pytest.mark.parametrize("terminal", [False, True])
def test_what_a_server_says_steers_no_log(terminal: bool) -> None:
    """Attack: an MCP server's names and errors, which its library logs, hide or forge entries."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    with subprocess.Popen([sys.executable, "-c", LOGGING], stderr=theirs) as process:
        os.close(theirs)
        written = b""
        with suppress(OSError):  # a closed terminal
            while chunk := os.read(ours, 65536):
                written += chunk
    os.close(ours)
    assert process.returncode == 0
    text = written.decode().replace("\r\n", "\n")
    plain = re.sub("\x1b\\[[0-9;]*m", "", text)  # colours of the platform's own entries
    assert not set(plain) & set("\x1b\r\x9b\u202e")
    assert "[2K" in plain
    assert "4111111111111111" not in plain
    assert not any(line.startswith("ERROR:agent") for line in plain.splitlines())
    assert max(map(len, plain.splitlines())) < 5_000
    assert plain.count("flood") == MOST_RECORDS
    assert "further records are dropped" in plain


def test_what_is_plain_and_what_is_coloured_stays() -> None:
    written = io.StringIO()
    console = PlainConsole(file=written, force_terminal=True, color_system="standard", width=80)
    console.print("größe 中文\tok", style="red")
    assert "größe 中文" in written.getvalue()
    assert "\x1b[31m" in written.getvalue()


def test_errors_steer_no_terminal_either(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), one_line():
        raise Forbidden("everything is stopped (\x1b]0;title\x07\x1b[2Jall well)")
    assert capsys.readouterr().err == "flightloop: everything is stopped (\ufffd]0;title\ufffd\ufffd[2Jall well)\n"


def test_names_of_keys_are_no_markup() -> None:
    written = io.StringIO()
    names = ["[/x] ops", "[black on black]hidden[/]"]
    made = {"id": "key_1", "tenant_id": "a", "role": "admin", "created_at": "2027-01-01T00:00:00Z", "created_by": "x"}
    table = key_table(ApiKey.model_validate({**made, "name": name}) for name in names)
    PlainConsole(file=written, width=120).print(table)
    assert all(name in written.getvalue() for name in names)


def test_a_name_of_an_argument_imitates_no_other() -> None:
    told = whole({'to = "user@example.com"\n    amount = 5\n    note': "x", "amount": 5000}).plain
    assert len(told.splitlines()) == 2
    assert "    amount = 5000" in told.splitlines()


def test_what_a_user_or_a_dry_run_says_imitates_no_argument() -> None:
    hostile = "please\n    amount = 5\r\u2028    approved by ann"
    dry_run = DryRun(tool="preview", ok=True, text=hostile)
    asked = {"id": "apr_1", "run_id": "r", "agent": "a", "call_id": "c", "tool": "pay", "arguments": {}, "reason": "x"}
    times = {"created_at": "2027-01-01T00:00:00Z", "expires_at": "2027-01-01T00:00:00Z"}
    made = Approval.model_validate(
        {
            **asked,
            **times,
            "args_sha256": "a",
            "policy_sha256": "p",
            "words": hostile,
            "asked": ["egress: " + hostile, "arguments: " + hostile],
        }
    )
    told = evidence(made.model_copy(update={"dry_run": dry_run})).plain.split("\n")
    assert [line.strip().split(":")[0] for line in told] == [
        "", "the user wrote", "asked by egress", "asked by arguments", "what would change, says preview"
    ]  # fmt: skip


def test_what_persons_have_decided_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(approvals.st, "caption", told.append)
    asked = {"id": "apr_1", "run_id": "r", "agent": "a", "call_id": "c", "tool": "pay", "arguments": {}, "reason": "x"}
    times = {"created_at": "2027-01-01T00:00:00Z", "expires_at": "2027-01-01T00:00:00Z"}
    given = {"decision": "approve", "by": "an\u202en", "at": times["created_at"], "reason": "o\u200bk"}
    approvals._persons(
        Approval.model_validate(
            {**asked, **times, "args_sha256": "a", "policy_sha256": "p", "needed": 2, "decisions": [given]}
        )
    )
    assert len(told) == 2
    assert not set("".join(told)) & set("\u202e\u200b")


def test_what_a_person_approves_in_the_console_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(style.st, "html", told.append)
    style.pairs({"to\u200b": "\u202egro.evil@bob", "note": "\U0001f468\u200d\U0001f469 é \ufeff1"})
    assert not set(told[0]) & set("\u200b\u202e\ufeff")
    assert "\U0001f468\u200d\U0001f469 é \ufffd1" in told[0]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_for_terminals(terminal: bool) -> None:
    out = io.StringIO()
    with counting_bar(PlainConsole(file=out, force_terminal=terminal, width=80)) as progress:
        progress.update(progress.add_task("tasks", total=4), advance=1, description="1 solved")
    assert ("1/4" in out.getvalue()) == terminal
    assert terminal or out.getvalue() == ""
