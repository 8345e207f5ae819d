"""What a policy or an agent's file says is what whoever looks it over reads there."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.project.intents import Intents
from agent.project.project import load_project
from flightloop.errors import ConfigError
from flightloop.tool import Effect, ToolSpec
from guardrails.policy import parse_policy
from guardrails.policy_document import ArgumentRule
from guardrails.rails.calls import violation
from observability.bounded_yaml import yaml_of
from tools.registry import Registry, performed_elsewhere

HEAD = 'name: p\nversion: "1"\n'
ASK = HEAD + "tools: {{allow: {{a: [x]}}, ask: [{{tool: x, argument: n, above: {}}}]}}\n"
RULE = HEAD + "tools: {{allow: {{a: [x]}}, arguments: {{x: {{n: {}}}}}}}\n"
TWICE = {
    "sections": (4, "tools", HEAD + "tools: {allow: {a: [x]}, ask: [{tool: x}]}\ntools: {allow: {a: [x]}}\n"),
    "rules": (6, "ask", HEAD + "tools:\n  allow: {a: [x]}\n  ask: [{tool: x}]\n  ask: []\n"),
    "quoted": (4, "n", RULE.format("{maximum: 5},\n n: {maximum: 9},\n 'n': {maximum: 500}")),
    "stages": (6, "final", HEAD + "stages:\n  final:\n    rails: [secrets]\n  final: {rails: []}\n"),
    "merged": (3, "<<", HEAD + "<<: {tools: {allow: {a: [x]}}}\n"),
}
DOCUMENTS = {
    "agents/f.yaml": "name: f\ninstructions: Be kind.\ninstructions: Be cruel.\n",
    "policies/f.yaml": HEAD + "name: q\n",
    "mcp.yaml": "shop: {command: [a], tools: {b: pure}}\nshop: {command: [c], tools: {b: pure}}\n",
}


@pytest.mark.parametrize("name", TWICE)
def test_a_key_that_stands_twice_is_refused_with_its_line(name: str) -> None:
    line, key, text = TWICE[name]
    with pytest.raises(ConfigError, match=rf"file\.yaml:{line}: .*{key}"):
        parse_policy(text, "file.yaml")


def test_a_key_may_stand_in_several_mappings() -> None:
    read = {"a": {"x": 1}, "b": [{"x": 2}, {"x": 3}], "1": "a", 1: "b"}
    assert yaml_of("a: {x: 1}\nb: [{x: 2}, {x: 3}]\n'1': a\n1: b\n") == read


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_document_of_a_project_has_each_key_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "tools.py").write_text(
        'from flightloop import tool\n\n\n@tool(effect="pure")\ndef look() -> str:\n    """Looks."""\n    return ""\n'
    )
    agent = "name: desk\ninstructions: Be kind.\ntools: [look]\n"
    for file, text in {"agents/desk.yaml": agent, name: DOCUMENTS[name]}.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    with pytest.raises(ConfigError, match="duplicate key"):
        load_project(tmp_path, ())


def test_intents_have_each_name_once(tmp_path: Path) -> None:
    (tmp_path / "intents.yaml").write_text("a: One.\na: Two.\n")
    with pytest.raises(ConfigError, match=r"intents\.yaml:2: .*duplicate key 'a'"):
        Intents.read(tmp_path)


@pytest.mark.parametrize("number", ["0100", "-0100", "+07", "1:40", "1:40.5", "0_1"])
def test_a_number_to_another_base_is_refused(number: str) -> None:
    with pytest.raises(ConfigError, match=r"file\.yaml:3: .*quote it"):
        parse_policy(ASK.format(number), "file.yaml")
    assert yaml_of(f"a: '{number}'") == {"a": number}


@pytest.mark.parametrize("number", [".nan", ".inf"])
def test_an_amount_that_none_exceeds_is_refused(number: str) -> None:
    with pytest.raises(ConfigError, match="finite"):
        parse_policy(ASK.format(number))


@pytest.mark.parametrize(("number", "value"), [("100", 100), ("0", 0), ("-0.5", -0.5), ("1_000", 1000), ("0x10", 16)])
def test_other_numbers_are_read(number: str, value: float) -> None:
    assert parse_policy(ASK.format(number)).document.tools.ask[0].above == value


@pytest.mark.parametrize(
    "rule",
    [
        "{}",
        "",
        "{maximum: }",
        "{minimum: 1, maximum: }",
        "{from_user_words: false}",
        "{kind: email}",
        "{maximum: .inf}",
    ],
)
def test_a_rule_that_holds_nothing_is_refused(rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy(RULE.format(rule), "file.yaml")
    assert str(caught.value.param).startswith("tools.arguments.x.n")
    assert parse_policy(RULE.format("{maximum: 0}")).document.tools.arguments["x"]["n"].maximum == 0
    assert parse_policy(RULE.format("{const: false}")).document.tools.arguments["x"]["n"].const is False


ENDS = [
    (r"^[a-z]+@example\.com$", "bob@example.com", True),
    (r"^[a-z]+@example\.com$", "bob@example.com\n", False),
    (r"^[a-z]+@example\.com$", "bob@example.com\nevil", False),
    ("^(a|b$)", "b\n", False),
    (r"^a\n$", "a\n", True),
    (r"^a\$$", "a$", True),
    (r"^a\\$", "a\\\n", False),
    ("^[$]$", "$", True),
    ("^[]$]$", "$\n", False),
    (r"^[\]$]$", "$", True),
    ("^[[:alpha:]$]$", "$", True),
    ("^a", "a\n", True),
    ("(?m)^a$", "a\nb", True),
]


@pytest.mark.parametrize(("pattern", "value", "holds"), ENDS)
def test_a_pattern_ends_where_the_text_does(pattern: str, value: str, holds: bool) -> None:
    assert (violation(ArgumentRule(pattern=pattern), value) is None) is holds
    parameters = {"type": "object", "properties": {"x": {"type": "string", "pattern": pattern}}}
    tools = Registry([performed_elsewhere(ToolSpec("odd", "Odd.", parameters, Effect.PURE))])
    assert (tools.problems("odd", {"x": value}) == []) is holds
