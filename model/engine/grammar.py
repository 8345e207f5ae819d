"""Constrained decoding: builds llguidance grammars of the permitted answers.

Objects and lists are written as ``json.dumps`` writes them (``", "`` and ``": "``), without other
whitespace, so that an answer inserted into a prompt looks the same. See docs/decisions/0002.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from flightloop.chat import ChatRequest, NamedToolChoice, ToolDef
from flightloop.errors import InternalError, InvalidRequest
from flightloop.schemas import SchemaProblem
from model.chat.calls import COMPACT, CallFormat
from model.engine.loosening import Looseness
from model.engine.schema import Schema, check_schema, embed, free_object

MAX_CALLS = 8
"""Maximum number of calls of one turn if ``parallel_tool_calls`` is on."""

_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_CALL_MARKS = (
    r"<[\s\/|]*(?i:tool|function|python_tag)",
    r"<[\s\/|]*(?i:(call|invoke|plan|action)(s?[^a-z]|call))",
    r'<[^<>]*>\s*(\{\s*"|\[\s*\{)',
    r"\[TOOL_CALL",
    r'\{\s*"(goal|plan|tool|function|action|argument|call)[A-Za-z_]*"\s*:',
    r'"(tools|arguments|parameters)[A-Za-z_]*"\s*:\s*[\[{]',
)
"""Beginnings of a call or a plan: markers of models, and variants that small models write instead."""
_CACHED = 256
_TOO_COMPLEX = ("ParserTooComplex", "LexerTooComplex")


def grammar_for(request: ChatRequest, calls: CallFormat = COMPACT) -> str | None:
    """The grammar for a request's tools and response format; None for free text.

    Args:
        request: the client's request.
        calls: how the model writes calls.

    If every tool has ``strict: false`` and nothing else restricts the answer, there is no grammar: the model writes
    text or calls without constraints, and the guard still checks them. Unless a tool has ``strict: true``, its grammar
    leaves out keywords that grammars can't express; the caller checks the arguments against the whole schema.

    Raises:
        InvalidRequest: contradictory fields, an unknown tool name or an invalid schema.
    """
    tools = _callable(request)
    value = _response_schema(request)
    forced = request.tool_choice == "required" or isinstance(request.tool_choice, NamedToolChoice)
    if tools and value is None and not forced and all(tool.function.strict is False for _, tool in tools):
        return None
    alternatives, rules = [], []
    if tools:
        most = MAX_CALLS if request.parallel_tool_calls and calls.parallel else 1
        alternatives.append("calls")
        rules += _calls(tools, calls, most)
    if value is not None and not forced:
        alternatives.append("value")
        rules.append(f"value: %json {_dump(value)}")
    elif request.tools and not forced:
        alternatives.append("TEXT")
        rules.append(_text([tool.function.name for tool in request.tools], calls))
    if not alternatives:
        return _words(request)
    return "\n".join([f"start: {' | '.join(alternatives)}", *rules])


def _words(request: ChatRequest) -> str | None:
    """Grammar of an answer in words with a forced beginning or forbidden texts; None without either."""
    asked = request.flightloop
    if asked.opening is None and not asked.never:
        return None
    begin = json.dumps(asked.opening, ensure_ascii=False) if asked.opening else ""
    unless = f" & ~/(?s:.*)({'|'.join(map(_quoted, asked.never))})(?s:.*)/" if asked.never else ""
    return f"start: {begin} REST\nREST: /(?s:.*)/{unless}"


def _text(names: Sequence[str], calls: CallFormat) -> str:
    """Rule for text that doesn't begin with a character that opens a call, and contains no beginning of a call.

    It uses a single negation: with three of them, llguidance no longer allows calls.
    """
    written = rf"[`\s]*(functions\.)?({'|'.join(map(_quoted, names))})\s?\((?s:.*)"
    forbidden = [rf"(?s:.*)({'|'.join(_CALL_MARKS)})(?s:.*)", written]
    opened = [marks.open.strip() for marks in calls.marks]
    forbidden += [f"{_quoted(text)}(?s:.*)" for text in opened if text and text[0] not in "<{["]
    return rf"TEXT: /[^\s<{{\[](?s:.*)/ & ~/{'|'.join(forbidden)}/"


def _quoted(name: str) -> str:
    return re.sub(r"[^\w-]", lambda sign: rf"\x{{{ord(sign[0]):x}}}", name)


def _callable(request: ChatRequest) -> list[tuple[int, ToolDef]]:
    """Tools that may be called, with their indices in the request."""
    tools, choice = list(enumerate(request.tools or [])), request.tool_choice
    names = [tool.function.name for _, tool in tools]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InvalidRequest(f"tools[{index}].function.name: {name!r} appears twice", param="tools")
    if choice == "none":
        return []
    if choice == "required" and not tools:
        raise InvalidRequest("tool_choice 'required' needs at least one tool in tools", param="tool_choice")
    if isinstance(choice, NamedToolChoice):
        tools = [(index, tool) for index, tool in tools if tool.function.name == choice.function.name]
        if not tools:
            known = ", ".join(names) or "none"
            raise InvalidRequest(
                f"tool_choice requires {choice.function.name!r}, which is not in tools; known: {known}",
                param="tool_choice",
            )
    return tools


def _calls(tools: list[tuple[int, ToolDef]], calls: CallFormat, most: int) -> list[str]:
    """Rules for one to ``most`` calls, the first of which is named ``calls``."""
    items, definitions = [], {}
    for index, tool in tools:
        function, strict = tool.function, tool.function.strict is True
        call, found = _call(index, function.name, json.dumps(function.parameters), calls.arguments, strict)
        definitions.update(found)
        items.append(call)
    rules, needed = list[str](), set[str]()
    for place, marks in enumerate(calls.marks):
        around = [json.dumps(text) if text else "" for text in (marks.open, marks.close)]
        if marks.each:
            more = f' ("\\n" one{place}){{0,{most - 1}}}' if most > 1 else ""
            rules.append(f"marks{place}: one{place}{more}")
            rules.append(f"one{place}: {around[0]} call {around[1]}")
        else:
            rules.append(f"marks{place}: {around[0]} {'(call | list)' if marks.bare else 'list'} {around[1]}")
        needed |= {"call"} if marks.each else {"call", "list"} if marks.bare else {"list"}
    first = "calls: " + " | ".join(f"marks{place}" for place in range(len(calls.marks)))
    if "call" in needed:
        rules.append(f"call: %json {_dump({'anyOf': items, '$defs': definitions})}")
    if "list" in needed:
        several = {"type": "array", "items": {"anyOf": items}, "minItems": 1, "maxItems": most, "$defs": definitions}
        rules.append(f"list: %json {_dump(several)}")
    return [first, *rules]


@lru_cache(maxsize=_CACHED)
def _call(index: int, name: str, parameters: str, key: str, strict: bool) -> tuple[Schema, Schema]:
    """Schema and definitions of one tool's call. Cached: the check takes milliseconds, and requests repeat tools.

    If the grammar can't express the schema of a tool that isn't ``strict``, it enforces a looser one.
    """
    param = f"tools[{index}].function.parameters"
    schema = {"type": "object", **json.loads(parameters)}
    check_schema(schema, param)
    if schema["type"] != "object":
        raise InvalidRequest(f"{param}.type must be 'object', not {schema['type']!r}", param=param)
    refused: InvalidRequest | None = None
    for looseness in [Looseness.NONE] if strict else Looseness:
        try:
            arguments, definitions = _embedded(schema, f"t{index}_", param, looseness)
            call = _object(**{"name": {"const": name}, key: arguments})
            _probe({**call, "$defs": definitions}, param)
        except InvalidRequest as problem:
            refused = refused or problem
        else:
            return call, definitions
    assert refused is not None
    raise refused


def _response_schema(request: ChatRequest) -> Schema | None:
    form = request.response_format
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return free_object()
    if form.json_schema is None:
        raise InvalidRequest("response_format.json_schema is missing", param="response_format.json_schema")
    param = "response_format.json_schema.schema"
    check_schema(form.json_schema.schema_, param)
    schema, definitions = _embedded(form.json_schema.schema_, "r", param)
    document = {**schema, "$defs": definitions}
    _probe(document, param)
    return document


def _embedded(
    schema: Schema, scope: str, param: str, looseness: Looseness = Looseness.NONE
) -> tuple[Schema, Schema]:  # fmt: skip
    """Like `model.engine.schema.embed`. Raises InvalidRequest."""
    try:
        return embed(schema, scope, looseness)
    except SchemaProblem as problem:
        raise InvalidRequest(f"{param}: {problem}", param=param) from problem


def _object(**properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _dump(schema: Schema) -> str:
    return json.dumps({"x-guidance": _LAYOUT, **schema})


def _probe(schema: Schema, param: str) -> None:
    """Rejects schemas that the compiler can't enforce."""
    problem = LLMatcher.validate_grammar(f"start: %json {_dump(schema)}")
    if problem and not problem.startswith("WARNING"):
        reason = problem.split("failed to compile JSON schema: ")[-1].splitlines()[0]
        raise InvalidRequest(f"{param} can't be used for constrained decoding: {reason}", param=param)


class Matcher:
    """Position of one answer in its grammar."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def fill(self, drafts: Sequence[int], words_RW: NDArray[np.uint32]) -> None:
        """Writes the tokens that may come next, and those after each draft, as packed bits (`model.engine.masks`).

        End tokens are allowed only where the answer may end. The grammar must accept the drafts.

        Raises:
            InvalidRequest: the grammar exceeded the parser's limits.
        """
        assert words_RW.flags.c_contiguous
        assert len(words_RW) == 1 + len(drafts)
        row_bytes, start = words_RW.strides[0], words_RW.ctypes.data
        for row, draft in enumerate([*drafts, None]):
            self._matcher.unsafe_compute_mask_ptr(start + row * row_bytes, row_bytes)
            if draft is not None:
                self._matcher.consume_token(draft)
            self._check()
        if drafts:
            self._matcher.rollback(len(drafts))

    def admitted(self, guess: Sequence[int], dictate: bool) -> list[int]:
        """The longest prefix of a draft that the grammar accepts and that does not complete the answer.

        Args:
            guess: draft of the next tokens.
            dictate: whether to insert the tokens that the grammar forces after each accepted token.
        """
        rest, taken = list(guess), list[int]()
        while rest and self._matcher.try_consume_tokens(rest[:1]):
            taken.append(rest.pop(0))
            if self.complete:
                self._matcher.rollback(1)
                taken.pop()
                break
            dictated = self.dictated() if dictate else []
            self._matcher.consume_tokens(dictated)
            taken += dictated
            if rest[: len(dictated)] != dictated[: len(rest)]:
                break
            del rest[: len(dictated)]
        if taken:
            self._matcher.rollback(len(taken))
        return taken

    def dictated(self) -> list[int]:
        """The tokens that the grammar forces next, up to where their text has several tokenisations."""
        return list(self._matcher.compute_ff_tokens())

    def advance(self, token: int) -> None:
        self._matcher.consume_token(token)
        self._check()

    @property
    def complete(self) -> bool:
        """Whether only an end token may follow."""
        return bool(self._matcher.is_stopped())

    def _check(self) -> None:
        if self._matcher.is_error():
            told = self._matcher.get_error().splitlines()[0]
            if self._matcher.stop_reason() in _TOO_COMPLEX:
                raise InvalidRequest(f"the schema is too complex for constrained decoding: {told}; simplify it")
            raise InternalError(f"constrained decoding failed: {told}")


class Grammars:
    """Compiles grammars for one vocabulary and caches the latest. Thread-safe.

    Args:
        tokenizer: the vocabulary as llguidance reads it.
    """

    def __init__(self, tokenizer: LLTokenizer) -> None:
        self._tokenizer = tokenizer
        self._lock = Lock()
        self._compiled: OrderedDict[str, Any] = OrderedDict()

    def matcher(self, grammar: str) -> Matcher:
        """A matcher at the start of the grammar.

        Raises:
            InvalidRequest: the grammar is too large, contradicts itself, or accepts no first token.
        """
        with self._lock:
            found = self._compiled.get(grammar)
            if found is not None:
                self._compiled.move_to_end(grammar)
        if found is None:
            found = LLMatcher(self._tokenizer, LLMatcher.grammar_from_lark(grammar), log_level=0)
            self._check(found)
            with self._lock:
                self._compiled[grammar] = found
                while len(self._compiled) > _CACHED:
                    self._compiled.popitem(last=False)
        return Matcher(found.deep_copy())

    def _check(self, compiled: Any) -> None:
        """Raises InvalidRequest if the grammar is invalid, which may show only when the first mask is computed."""
        if not compiled.is_error():
            first = compiled.deep_copy()
            words = np.empty((self._tokenizer.vocab_size + 31) // 32, np.uint32)
            first.unsafe_compute_mask_ptr(words.ctypes.data, words.nbytes)
            if not first.is_error():
                return
            compiled = first
        raise InvalidRequest(f"the grammar can't be compiled: {compiled.get_error().splitlines()[0]}")
