"""The rail for code, with the platform's scanner as the composition root gives it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.serve.code_scan import code_scan
from flightloop.errors import ConfigError
from flightloop.tool import Effect, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.guard import Guard
from guardrails.policy import parse_policy
from guardrails.rails.code import PLACEHOLDER, UNREAD, ScannedCode
from guardrails.text.code_blocks import code_blocks
from guardrails.types import Checked, CheckedCall, GuardContext, Ruling

BAD = "import os\n\ndef ping(host):\n    os.system('ping ' + host)\n"
GOOD = "def double(number):\n    return 2 * number\n"
JAVA = 'class Box { Object c() throws Exception { return Cipher.getInstance("DES"); } }\n'


def guard(entry: str = "", stage: str = "final", scan=code_scan) -> Guard:  # type: ignore[no-untyped-def]
    rails = f"timeout_ms: 60000, rails: [{{rail: code_scan{entry}}}]"
    text = f"name: code\nversion: 1\nstages:\n  {stage}: {{{rails}}}\n"
    return Guard(parse_policy(text), code_scan=scan)


def answer(code: str, info: str = "python") -> str:
    return f"Here it is:\n\n```{info}\n{code}```\n\nHave fun."


async def judged(text: str, entry: str = "") -> Ruling:
    return await guard(entry).check(Checked(Stage.FINAL, text, GuardContext()))


async def called(arguments: dict[str, object], entry: str = "", tool: str = "run_python") -> Ruling:
    spec = ToolSpec(tool, "", {"type": "object", "properties": {}}, Effect.PURE)
    call = CheckedCall("call", spec, arguments)
    return await guard(entry, "tool_call").check(Checked(Stage.TOOL_CALL, "", GuardContext(agent="a"), call))


async def test_weak_code_in_an_answer_is_blocked_with_its_weakness() -> None:
    ruling = await judged(answer(BAD))
    assert ruling.action is Action.BLOCK
    (verdict,) = [one for one in ruling.verdicts if one.rail == "code_scan"]
    assert verdict.labels == ["CWE-78"]
    assert verdict.reason.startswith("CWE-78 in line 4 (A shell command is put together")
    assert [answer(BAD)[span.start : span.end] for span in verdict.spans] == [BAD]


@pytest.mark.parametrize(
    "text", ["no code here: os.system('ping ' + host)", answer(GOOD), answer("SELECT 1\n", "sql"), ""]
)
async def test_other_answers_pass(text: str) -> None:
    assert (await judged(text)).action is Action.ALLOW


async def test_weaknesses_below_the_severity_pass() -> None:
    low = answer("try:\n    f()\nexcept Exception:\n    pass\n")
    assert (await judged(low)).action is Action.ALLOW
    assert (await judged(low, ", severity: low")).action is Action.BLOCK
    assert (await judged(answer(BAD), ", severity: critical")).action is Action.BLOCK


async def test_redaction_replaces_the_block_only() -> None:
    ruling = await judged(answer(BAD) + answer(GOOD), ", action: redact")
    assert ruling.action is Action.REDACT
    assert ruling.text == answer(f"{PLACEHOLDER}\n") + answer(GOOD)


async def test_code_that_can_not_be_read_counts_as_found() -> None:
    broken = answer("def f(:\n")
    ruling = await judged(broken)
    assert ruling.action is Action.BLOCK
    assert UNREAD in ruling.verdicts[-1].labels
    assert (await judged(broken, ", unread: allow")).action is Action.ALLOW


@pytest.mark.parametrize(
    "text",
    [
        answer(BAD, "py"),
        answer(BAD, 'Python title="a.py"'),
        answer(BAD, ""),
        answer(BAD, "text"),
        answer(JAVA, "java"),
        answer(JAVA, ""),
        f"~~~python\n{BAD}~~~\n",
        f"```python\n{BAD}",
        "1. like this:\n\n" + "".join(f"   {line}\n" for line in ["```python", *BAD.splitlines(), "```"]),
        "".join(f"> {line}\n" for line in ["```python", *BAD.splitlines(), "```"]),
        "```python\n>>> import os\n>>> def ping(host):\n...     os.system('ping ' + host)\n...\n```\n",
        f"````python\n{BAD}```\n````\n",
    ],
)
async def test_blocks_are_found_however_they_are_written(text: str) -> None:
    assert (await judged(text)).action is Action.BLOCK


async def test_code_in_arguments_asks() -> None:
    ruling = await called({"code": BAD}, ", action: ask")
    assert ruling.action is Action.ASK
    assert "CWE-78" in ruling.reason
    assert (await called({"code": GOOD}, ", action: ask")).action is Action.ALLOW
    assert (await called({"comment": BAD}, ", action: ask")).action is Action.ALLOW
    assert (await called({"comment": answer(BAD)}, ", action: ask")).action is Action.ASK
    assert (await called({"steps": [{"code": BAD}]}, ", action: ask")).action is Action.ASK
    assert (await called({"code": JAVA, "language": "Java"}, ", action: ask")).action is Action.ASK
    assert (await called({"body": BAD}, ", action: ask, arguments: [body]")).action is Action.ASK


async def test_arguments_are_redacted() -> None:
    ruling = await called({"code": BAD, "name": "x", "count": 2}, ", action: redact")
    assert ruling.arguments == {"code": f"{PLACEHOLDER}\n", "name": "x", "count": 2}


async def test_the_rail_applies_to_named_tools() -> None:
    assert (await called({"code": BAD}, ", tools: [run_python]")).action is Action.BLOCK
    assert (await called({"code": BAD}, ", tools: [run_python]", tool="other")).action is Action.ALLOW


async def test_without_a_scanner_the_rail_blocks() -> None:
    ruling = await guard(scan=None).check(Checked(Stage.FINAL, "hello", GuardContext()))
    assert ruling.action is Action.BLOCK
    assert "no code scanner is installed" in ruling.reason


async def test_a_scanner_that_fails_blocks() -> None:
    def broken(code: str, language: str) -> ScannedCode:
        raise ValueError("broken")

    ruling = await guard(scan=broken).check(Checked(Stage.FINAL, answer(GOOD), GuardContext()))
    assert ruling.action is Action.BLOCK


def test_streams_can_not_be_scanned() -> None:
    with pytest.raises(ConfigError, match="can't check a stream"):
        guard(stage="stream")


@given(st.text(st.sampled_from("`~> \npython ja-1.x=()"), max_size=200))
def test_blocks_lie_in_the_text_one_after_the_other(text: str) -> None:
    at = 0
    for block in code_blocks(text, "python"):
        assert at <= block.start <= block.end <= len(text)
        at = block.end
