"""Cleans rows: removes invisible characters, and finds faulty rows, which must not be trained on."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match

from model.tuner.data.row import Message, Row, calls_of, content_text
from model.tuner.data.words import words_of

_BLANKS = re.compile(r"[^\S\n]+(?=\n|$)")
_LINES = re.compile(r"\n{3,}")
_KEPT = "\n\t\u200c\u200d"
"""Invisible characters that have a meaning: line breaks, tabs, and the joiners of some scripts and emoji."""
_UNSEEN = frozenset({"Cc", "Cf", "Co"})


def cleaned(row: Row) -> Row:
    """The row with clean texts in messages and calls. Tool results are not changed."""
    return {**row, "messages": [_clean_message(message) for message in row["messages"]]}


def fault(row: Row) -> str | None:
    """The reason why a row must not be trained on; None if it is fine."""
    try:
        return _order(row["messages"]) or _answers(row) or _calls(row)
    except (AttributeError, KeyError, TypeError) as error:
        return f"a message or a tool is not in OpenAI's format ({type(error).__name__})"
    except ValueError:
        return "a call's arguments are not a JSON object"


def unsaid(row: Row) -> int:
    """Number of calls with a required argument that is in no earlier user message: the assistant got it elsewhere, or
    invented it."""
    schemas = _schemas(row)
    count = 0
    for place, name, arguments in calls_of(row):
        before = (message for message in row["messages"][:place] if message["role"] == "user")
        said = " ".join(words_of(" ".join(content_text(message) for message in before)))
        required = schemas.get(name, {}).get("required", ())
        count += any(not _is_said(arguments[key], said) for key in required if key in arguments)
    return count


def tidied(text: str) -> str:
    """Removes invisible characters, trailing blanks and repeated empty lines."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = "".join(sign for sign in text if sign in _KEPT or unicodedata.category(sign) not in _UNSEEN)
    return _LINES.sub("\n\n", _BLANKS.sub("", text)).strip()


def _clean_message(message: Any) -> Any:
    if not isinstance(message, dict) or message.get("role") == "tool":
        return message
    clean = dict(message)
    if isinstance(message.get("content"), str):
        clean["content"] = tidied(message["content"])
    if message.get("tool_calls"):
        clean["tool_calls"] = [_clean_call(call) for call in message["tool_calls"]]
    return clean


def _clean_call(call: Any) -> Any:
    """Cleans a call's arguments like texts, so that arguments quoted from a message still equal the quoted text."""
    try:
        arguments = json.loads(call["function"]["arguments"])
        text = json.dumps(_clean_value(arguments), ensure_ascii=False)
        return {**call, "function": {**call["function"], "arguments": text}}
    except (KeyError, TypeError, ValueError):
        return call  # reported by `fault`


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return tidied(value)
    if isinstance(value, list):
        return [_clean_value(each) for each in value]
    return {key: _clean_value(each) for key, each in value.items()} if isinstance(value, dict) else value


def _order(messages: list[Message]) -> str | None:
    asked: set[str] = set()
    for message in messages:
        asked |= {call["id"] for call in message.get("tool_calls") or ()}
        if message["role"] == "tool" and message.get("tool_call_id") not in asked:
            return "a result does not belong to a call"
    roles = [message["role"] for message in messages]
    if "user" not in roles:
        return "no user message"
    return None if "assistant" in roles else "no assistant message"


def _answers(row: Row) -> str | None:
    for message in row["messages"]:
        text, role = content_text(message), message["role"]
        if role == "user" and not words_of(text):
            return "a user message is empty"
        if role == "assistant" and not message.get("tool_calls") and not words_of(text):
            return "an assistant message is empty"
    form = row.get("response_format") or {}
    if form.get("type") != "json_schema":
        return None
    try:
        answer = json.loads(content_text(row["messages"][-1]))
    except ValueError:
        return "the answer is not JSON, as its response_format requires"
    return "the answer does not fit its response_format" if _misfit(answer, form["json_schema"]["schema"]) else None


def _calls(row: Row) -> str | None:
    schemas = _schemas(row)
    for _, name, arguments in calls_of(row):
        if name not in schemas:
            return "a call of a tool that is not offered"
        if (wrong := _misfit(arguments, schemas[name])) is not None:
            return f"a call does not fit its tool's schema ({wrong})"
    return None


def _misfit(value: Any, schema: Mapping[str, Any]) -> str | None:
    """The schema rule that a value breaks; None if it fits. Unknown names don't fit unless the schema allows them."""
    try:
        error = best_match(_validator(json.dumps(schema)).iter_errors(value))
    except SchemaError:
        return "not a JSON Schema"
    if error is not None:
        return str(error.validator)
    known = schema.get("properties") or {}
    unknown = isinstance(value, dict) and "additionalProperties" not in schema and set(value) - set(known)
    return "unknown name" if unknown else None


@lru_cache(maxsize=10_000)
def _validator(schema: str) -> Draft202012Validator:
    parsed = json.loads(schema)
    Draft202012Validator.check_schema(parsed)
    return Draft202012Validator(parsed)


def _schemas(row: Row) -> dict[str, dict[str, Any]]:
    functions = [each["function"] for each in row.get("tools") or ()]
    return {each["name"]: each.get("parameters") or {"type": "object"} for each in functions}


def _is_said(value: Any, said: str) -> bool:
    return all(f" {' '.join(words_of(leaf))} " in f" {said} " for leaf in _leaves(value))


def _leaves(value: Any) -> Iterator[str]:
    """Texts and numbers in a value. Booleans have no words of their own, so they are left out."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield json.dumps(value)
