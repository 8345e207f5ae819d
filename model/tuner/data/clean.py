"""Cleaning: rows lose signs that nobody sees, and those that teach something wrong are found."""

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
"""Signs that are not seen but mean something: the joiners shape words in some scripts, and emoji."""
_UNSEEN = frozenset({"Cc", "Cf", "Co"})


def cleaned(row: Row) -> Row:
    """The row with tidy texts, in messages and in what calls say; results of tools stay as they are."""
    return {**row, "messages": [_clean_message(message) for message in row["messages"]]}


def fault(row: Row) -> str | None:
    """Why a row must not be learned from; None if nothing is wrong with it."""
    try:
        return _order(row["messages"]) or _answers(row) or _calls(row)
    except (AttributeError, KeyError, TypeError) as error:
        return f"a message or a tool is not laid out as OpenAI's ({type(error).__name__})"
    except ValueError:
        return "a call's arguments are not a JSON object"


def unsaid(row: Row) -> int:
    """Calls with a required argument that the user did not say; the assistant knew it from elsewhere, or made it up."""
    schemas = _schemas(row)
    count = 0
    for place, name, arguments in calls_of(row):
        before = (message for message in row["messages"][:place] if message["role"] == "user")
        said = " ".join(words_of(" ".join(content_text(message) for message in before)))
        required = schemas.get(name, {}).get("required", ())
        count += any(not _is_said(arguments[key], said) for key in required if key in arguments)
    return count


def tidied(text: str) -> str:
    """Without signs that are not seen, blanks at the ends of lines and more than one empty line."""
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
    """What a call repeats of a text must stay equal to it."""
    try:
        arguments = json.loads(call["function"]["arguments"])
        text = json.dumps(_clean_value(arguments), ensure_ascii=False)
        return {**call, "function": {**call["function"], "arguments": text}}
    except (KeyError, TypeError, ValueError):
        return call  # it is found at fault


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
            return "a result belongs to no call"
    roles = [message["role"] for message in messages]
    if "user" not in roles:
        return "no message of the user"
    return None if "assistant" in roles else "no message of the assistant"


def _answers(row: Row) -> str | None:
    for message in row["messages"]:
        text, role = content_text(message), message["role"]
        if role == "user" and not words_of(text):
            return "a message of the user says nothing"
        if role == "assistant" and not message.get("tool_calls") and not words_of(text):
            return "a message of the assistant says nothing"
    form = row.get("response_format") or {}
    if form.get("type") != "json_schema":
        return None
    try:
        answer = json.loads(content_text(row["messages"][-1]))
    except ValueError:
        return "the answer is not JSON, as its response_format wants"
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
    """The rule that is broken; a name that a schema does not have breaks it, too, unless the schema allows any."""
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
    """The texts and numbers in a value; a truth has no word of its own."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield json.dumps(value)
