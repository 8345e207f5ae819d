"""Calculator tool: evaluates arithmetic, but not Python."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from flightloop.tool import ToolRefused, tool

MAX_CHARACTERS, MAX_NODES = 300, 100
LARGEST = 10**60
MAX_EXPONENT = 1000
MAX_DIGITS = 60

Number = int | float


def _rounded(number: Number, digits: Number | None = None) -> Number:
    if digits is not None and abs(digits) > MAX_DIGITS:
        raise ToolRefused(f"Numbers can be rounded to at most {MAX_DIGITS} digits.")
    return round(number, digits)  # type: ignore[arg-type]


BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs, "min": min, "max": max, "round": _rounded, "sqrt": math.sqrt, "floor": math.floor, "ceil": math.ceil,
    "log": math.log, "exp": math.exp, "sum": lambda *numbers: sum(numbers),
}  # fmt: skip
CONSTANTS = {"pi": math.pi, "e": math.e}


# The numbers come from the model, so results don't count as evidence.
@tool(effect="pure", timeout_s=5, returns_untrusted=True)
def calculator(expression: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]) -> Any:
    """Calculate an arithmetic expression.

    Args:
        expression: for example (129.90 - 20) * 0.19
    """
    return evaluate(expression)


def evaluate(expression: str) -> Number:
    """Value of an expression of numbers, ``+ - * / // % ** ^``, brackets, `FUNCTIONS` and `CONSTANTS`.

    Floats are rounded to 12 digits, so that 0.1 + 0.2 is 0.3.

    Raises:
        ToolRefused: the expression is invalid or too big, or has no value.
    """
    if len(expression) > MAX_CHARACTERS:
        raise ToolRefused(f"The expression is too long: at most {MAX_CHARACTERS} characters.")
    try:
        tree = ast.parse(expression.strip().replace("^", "**"), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ToolRefused("This is not an arithmetic expression. Example: (129.90 - 20) * 0.19") from None
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
        raise ToolRefused("The expression has too many parts.")
    try:
        value = _value(tree.body)
    except ZeroDivisionError:
        raise ToolRefused("Division by zero.") from None
    except (ArithmeticError, ValueError, TypeError) as error:
        raise ToolRefused(f"This can't be calculated: {error}.") from None
    return float(f"{value:.12g}") if isinstance(value, float) else value


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=value) if type(value) in (int, float):
            return _bounded(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(op=ast.Pow(), left=left, right=right):
            return _bounded(_power(_value(left), _value(right)))
        case ast.BinOp(op=op, left=left, right=right) if type(op) in BINARY:
            return _bounded(BINARY[type(op)](_value(left), _value(right)))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            return _bounded(FUNCTIONS[name](*map(_value, args)))
        case ast.Name(id=name) if name in CONSTANTS:
            return CONSTANTS[name]
    raise ToolRefused(f"{ast.unparse(node)[:40]!r} is not allowed: use numbers, + - * / and {', '.join(FUNCTIONS)}.")


def _power(base: Number, exponent: Number) -> Number:
    if abs(exponent) > MAX_EXPONENT:
        raise ToolRefused(f"The exponent is too big: at most {MAX_EXPONENT}.")
    if isinstance(base, int) and isinstance(exponent, int) and abs(base).bit_length() * exponent > 4096:
        raise ToolRefused("The result is too big.")
    result = base**exponent
    if isinstance(result, complex):
        raise ToolRefused("This root of a negative number is not a real number.")
    return result


def _bounded(value: Any) -> Number:
    if isinstance(value, float) and not math.isfinite(value):
        raise ToolRefused("The result is too big.")
    if abs(value) > LARGEST:
        raise ToolRefused("The result is too big.")
    return value  # type: ignore[no-any-return]
