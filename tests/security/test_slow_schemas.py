"""A tool's schema and a model's arguments: checking one against the other holds nobody up."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from flightloop.errors import ConfigError
from flightloop.tool import Effect, ToolSpec
from tools.registry import Registry, performed_elsewhere


def registry(properties: dict[str, Any], **schema: Any) -> Registry:
    parameters = {"type": "object", "properties": properties, **schema}
    return Registry([performed_elsewhere(ToolSpec("odd", "Odd.", parameters, Effect.PURE))])


SETS = "(?i)" + "".join(f"[!-{chr(0xD700 + number)}]" for number in range(20))
"""Compiling it takes a while."""
NESTED: dict[str, Any] = {"x": 1}
for _ in range(40):
    NESTED = {"a": NESTED}
BRANCH = {"properties": {"a": {"$ref": "#/$defs/node"}}}
NODE = {"anyOf": [{**BRANCH, "required": ["b"]}, {**BRANCH, "required": ["c"]}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("properties", "schema", "arguments"),
    [
        ({"x": {"type": "string", "pattern": "^(a+)+$"}}, {}, {"x": "a" * 40 + "!"}),
        ({"x": {"type": "string", "pattern": "(x+x+)+y"}}, {}, {"x": "x" * 60}),
        ({}, {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 40 + "!": 1}),
        ({}, {"propertyNames": {"pattern": "^(a|aa)+$"}}, {"a" * 60 + "!": 1}),
        ({"x": {"items": {"pattern": "^(a*)*$"}}}, {}, {"x": [f"{'a' * 40}{number}" for number in range(500)]}),
        ({"x": {"pattern": "a{4000000000}"}}, {}, {"x": "a"}),
        ({"x": {"pattern": "((a{1,900}){900}){900}"}}, {}, {"x": "a"}),
        (
            {"x": {"uniqueItems": True}},
            {},
            {"x": [{"n": number} if number % 2 else [number] for number in range(9000)]},
        ),
        ({"node": {"$ref": "#/$defs/node"}}, {"$defs": {"node": NODE}}, {"node": NESTED}),
        ({"x": {"items": {"type": "string"}}}, {}, {"x": list(range(200_000))}),
        ({"x": {"pattern": "(?:(?:(?:a{,1000}){,1000}){,1000})b"}}, {}, {"x": "a"}),
        ({"x": {"pattern": SETS * 400}}, {}, {"x": "a"}),
        ({"x": {"format": "regex"}}, {}, {"x": SETS * 400}),
        ({"x": {"unevaluatedItems": False}}, {}, {"x": [1] * 20_000}),
    ],
    ids=[
        "repeated",
        "overlapping",
        "keys",
        "names",
        "items",
        "large",
        "nested",
        "unique",
        "choices",
        "errors",
        "at most",
        "sets",
        "formats",
        "unevaluated",
    ],
)
def test_arguments_are_checked_in_bounded_time(
    properties: dict[str, Any], schema: dict[str, Any], arguments: dict[str, Any]
) -> None:
    started = time.process_time()
    tools = registry(properties, **schema)
    for _ in range(3):
        tools.problems("odd", arguments)
    assert time.process_time() - started < 5


def test_a_tool_whose_schema_unfolds_is_refused_by_its_name() -> None:
    """A few lines that hold each value against 32,768 schemas."""
    chain = {f"d{at}": {"allOf": [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(15)}
    with pytest.raises(ConfigError, match=r"tool odd: .*\['d\d+'\] applies more than 5000 schemas to one value"):
        registry({"x": {"$ref": "#/$defs/d0"}}, **{"$defs": {**chain, "d15": {"minLength": 1}}})


def test_what_can_be_checked_is() -> None:
    tools = registry(
        {"code": {"type": "string", "pattern": "^[A-Z]{3}$"}, "tags": {"type": "array", "uniqueItems": True}},
        additionalProperties=False,
    )
    assert tools.problems("odd", {"code": "ABC", "tags": [1, 2, {"a": 1}]}) == []
    assert "of the form ^[A-Z]{3}$" in tools.problems("odd", {"code": "abc"})[0]
    assert len(tools.problems("odd", {"code": "ABC", "tags": [{"a": 1}, {"a": 1}]})) == 1
    assert "is unknown" in tools.problems("odd", {"other": 1})[0]


DIALECT = "http://json-schema.org/draft-07/schema#"


def test_a_schema_asks_for_nothing_outside_itself(tmp_path: Path) -> None:
    """Not even a part in a dialect of its own, whose rules would read whatever a reference names."""
    secret = tmp_path / "secret.json"
    secret.write_text('{"const": "flk_secret"}')
    with socket.create_server(("127.0.0.1", 0)) as server:
        addresses = (secret.as_uri(), f"http://127.0.0.1:{server.getsockname()[1]}/schema")
        for address in addresses:
            for part in ({"dependencies": {"a": {"$ref": address}}}, {"$id": address, "additionalItems": False}):
                tools = registry({"x": {"$schema": DIALECT, **part}})
                assert tools.problems("odd", {"x": {"a": 1}}) == []
        slow = registry({"x": {"$schema": DIALECT, "pattern": "^(a+)+$"}})
        started = time.process_time()
        slow.problems("odd", {"x": "a" * 40 + "!"})
        assert time.process_time() - started < 5
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    "part",
    [
        {"x": {"pattern": "a{99999999999}"}}, {"x": {"pattern": "(" * 3000 + ")" * 3000}}, {"x": True},
        {"x": {"$schema": 5}}, {"x": {"$id": "http://["}}, {"x": {"format": "regex"}}, {"x": {"multipleOf": 0.5}},
    ],
)  # fmt: skip
def test_an_odd_schema_is_an_error_or_holds(part: dict[str, Any]) -> None:
    try:
        tools = registry(part, required=["x"])
    except ConfigError:
        return
    for value in (1, "(" * 3000 + ")" * 3000, "a{99999999999}", 10**400, None):
        assert all(len(problem) <= 500 for problem in tools.problems("odd", {"x": value}))
    assert tools.problems("odd", {})
