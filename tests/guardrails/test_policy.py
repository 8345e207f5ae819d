import re
from pathlib import Path

import pytest
import yaml

import guardrails
from flightloop.errors import ConfigError
from flightloop.verdicts import Stage
from guardrails.policy import DEFAULT_PATH, default_policy, load_policy, parse_policy

MINIMAL = "name: mine\nversion: 1\n"
SUPPORT = Path(guardrails.__file__).parents[1] / "examples" / "support" / "policies" / "support.yaml"


def test_a_minimal_policy_is_as_safe_as_the_default_one():
    mine, default = parse_policy(MINIMAL).document, default_policy().document
    assert mine.stages == default.stages
    assert mine.tools == default.tools


def test_default_policy_covers_every_stage():
    assert all(default_policy().document.stages.of(stage) for stage in Stage)


def test_the_hash_is_of_the_document_not_of_its_writing():
    text = DEFAULT_PATH.read_text()
    rewritten = yaml.safe_dump(yaml.safe_load(text), sort_keys=True, default_flow_style=True)
    assert parse_policy(rewritten).sha256 == parse_policy(text).sha256 == default_policy().sha256
    assert parse_policy(text.replace("block_at: 0.98", "block_at: 0.97")).sha256 != default_policy().sha256


def test_the_hash_covers_the_stages_it_inherits():
    assert parse_policy(MINIMAL).document.canonical()["stages"] == default_policy().document.canonical()["stages"]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (MINIMAL + "colour: red\n", "colour"),
        (MINIMAL + "stages: {inputs: {rails: []}}\n", "stages.inputs"),
        (MINIMAL + "stages: {input: {rails: [nonsense]}}\n", "stages.input.rails.0"),
        (MINIMAL + "stages: {input: {rails: [{rail: secrets, act: block}]}}\n", "stages.input.rails.0.secrets.act"),
        (MINIMAL + "stages: {input: {rails: [], timeout_ms: 0}}\n", "stages.input.timeout_ms"),
        (MINIMAL + "stages: {stream: {rails: [content]}}\n", "stages"),
        (MINIMAL + "stages: {final: {rails: [{rail: content, judge_from: 0.5}]}}\n", "stages.final.rails.0.content"),
        (MINIMAL + "tools: {allow: {a: [b]}, lock_to_plan: maybe}\n", "tools.lock_to_plan"),
        (MINIMAL + "tools: {allow: {a: [b]}, arguments: {b: {c: {max: 1}}}}\n", "tools.arguments.b.c.max"),
        (MINIMAL + "tools: {allow: {a: [b]}, arguments: {b: {c: {pattern: '('}}}}\n", "tools.arguments.b.c.pattern"),
        (MINIMAL + "tools: {allow: {a: [b]}, ask: [{tool: b, above: 1}]}\n", "tools.ask.0"),
        (MINIMAL + "tools: {}\n", "tools.allow"),
        (MINIMAL + "constitution: {enabled: true}\n", "constitution"),
        ("name: Not A Name\nversion: 1\n", "name"),
        ("name: mine\n", "version"),
    ],
)
def test_a_wrong_field_is_named(text, field):
    with pytest.raises(ConfigError) as caught:
        parse_policy(text, "file.yaml")
    assert caught.value.param == field
    assert re.match(rf"file\.yaml:\d+: {re.escape(field)}", caught.value.message)


def test_a_wrong_field_is_told_with_its_line():
    lines = [
        "name: mine",
        "version: 1",
        "tools:",
        "  allow: {a: [b]}",
        "  ask:",
        "  - tool: b",
        "  - tool: b",
        "    above: 1",
    ]
    with pytest.raises(ConfigError, match=r"^file\.yaml:7: tools\.ask\.1: "):
        parse_policy("\n".join(lines), "file.yaml")
    with pytest.raises(ConfigError, match=r"^file\.yaml:3: not YAML: "):
        parse_policy("name: mine\nstages:\n  input: [", "file.yaml")


@pytest.mark.parametrize("text", ["- a list", "{", ""])
def test_what_is_no_mapping_is_refused(text):
    with pytest.raises(ConfigError, match=r"file\.yaml"):
        parse_policy(text, "file.yaml")


def test_the_support_policy_loads():
    policy = load_policy(SUPPORT)
    assert policy.name == "support"
    assert "refund_order" in policy.document.tools.allowed("support")
    assert policy.document.tools.allowed("somebody") == frozenset()
