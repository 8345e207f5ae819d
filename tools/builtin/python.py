"""Tool that runs Python in a separate process, within the limits of `tools.builtin.forked`."""

from __future__ import annotations

import ast
import traceback
from typing import Annotated, Any

from pydantic import Field

from flightloop.tool import tool
from tools.builtin.forked import run_forked

WALL_SECONDS = 10.0
MAX_OUTPUT_BYTES = 16 * 1024


@tool(effect="pure", timeout_s=20, permissions=("subprocess",), returns_untrusted=True)
def run_python(code: Annotated[str, Field(min_length=1, max_length=8000)]) -> Any:
    """Run a short Python program and return what it prints. It has no network and no files.

    Args:
        code: the program
    """
    ended = run_forked(lambda: _execute(code), seconds=WALL_SECONDS, output_bytes=MAX_OUTPUT_BYTES)
    result: dict[str, Any] = {"output": ended.output.decode("utf-8", "replace"), "exit": ended.exit}
    if ended.cut:
        result["note"] = f"the output was cut after {MAX_OUTPUT_BYTES} bytes"
    return result


def _execute(code: str) -> int:
    """Runs the program. If its last line is an expression, prints its value, as the interpreter's prompt does."""
    scope: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    try:
        tree = ast.parse(code, "<program>")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "<program>", "exec"), scope)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<program>", "eval"), scope)
            if value is not None:
                print(repr(value))
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException as error:
        trace = error.__traceback__.tb_next if error.__traceback__ else None  # without this function's frame
        traceback.print_exception(type(error), error, trace)
        return 1
    return 0
