"""Program that compiles grammars: reads requests as JSON lines from stdin and writes each result as a JSON line.

It also writes a line when it is ready, and exits at the end of its input.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

from llguidance import LLMatcher

from flightloop.chat import ChatRequest
from flightloop.errors import InvalidRequest
from model.chat.calls import CALL_FORMATS, COMPACT
from model.engine.grammar import grammar_for

MEMORY_BYTES = 4 * 1024**3
"""Limit of the process's address space. Schemas that need more are rejected."""


def answer(fields: dict[str, Any]) -> dict[str, Any]:
    """Compiles a request's grammar and returns the fields of ``model.engine.compiler.Compiled``."""
    try:
        calls = CALL_FORMATS[fields.pop("calls", COMPACT.name)]
        request = ChatRequest.model_validate({**fields, "model": "", "messages": [{"role": "user"}]})
        grammar = grammar_for(request, calls)
        if grammar is not None:
            _check_whole(grammar)
    except InvalidRequest as error:
        return {"problem": error.message, "param": error.param}
    except (MemoryError, RecursionError) as error:
        return {"problem": f"the schemas can't be compiled: {type(error).__name__}; simplify them"}
    return {"grammar": grammar}


def _check_whole(grammar: str) -> None:
    """Raises InvalidRequest if the grammar's parts, each valid by itself, don't compile together."""
    problem = LLMatcher.validate_grammar(LLMatcher.grammar_from_lark(grammar))
    if problem and not problem.startswith("WARNING"):
        raise InvalidRequest(f"the schemas can't be compiled together: {problem.splitlines()[0]}")


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            told = answer(json.loads(line))
        except BaseException as error:  # a panic of the library isn't an Exception
            told = {"problem": f"the schemas can't be compiled: {error}"[:500]}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
