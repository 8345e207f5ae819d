"""Registry of a deployment's tools by name; checks the arguments of calls."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jsonschema import ValidationError
from jsonschema.exceptions import SchemaError

from flightloop.errors import ConfigError, NotFound
from flightloop.schemas import check
from flightloop.tool import Tool, ToolSpec, tool_of
from tools.canonical import canonical
from tools.identity import identity
from tools.project_modules import import_file
from tools.validation import MOST_SECONDS, Unchecked, check_schema, errors_of, unfit_defaults, validator_of, weight

if TYPE_CHECKING:
    from flightloop.chat import ToolDef

MAX_PROBLEMS, LONGEST_PROBLEM = 5, 500
EXPENSIVE = 20_000
"""Limit of a schema's `weight` times the arguments' length. Below it, a check takes only milliseconds."""
WORDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def performed_elsewhere(spec: ToolSpec) -> Tool:
    """A tool without a function: registries only use its spec, and its calls are performed elsewhere."""
    return Tool(spec, _no_function)


def _no_function() -> None:
    raise AssertionError("this tool has no function; its calls are performed elsewhere")


class Registry:
    """Tools by name.

    Raises:
        ConfigError: two tools have the same name, the schema of a tool's parameters is unusable, or a tool's calls are
            to be reconciled or previewed by an unsuitable tool.
    """

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.spec.name in self._tools:
                raise ConfigError(f"two tools are named {tool.spec.name}; names must be unique", param="tools")
            _check_parameters(tool.spec)
            self._tools[tool.spec.name] = tool
        for spec in self.specs():
            if spec.reconcile is not None:
                self._check_reconciler(spec, spec.reconcile)
            if spec.dry_run is not None:
                self._check_dry_run(spec, spec.dry_run)
        self._validators = {name: validator_of(tool.spec.parameters) for name, tool in self._tools.items()}
        self._weights = {name: weight(tool.spec.parameters) for name, tool in self._tools.items()}

    @classmethod
    def load(cls, sources: Sequence[str | Path], code: Mapping[str, str] | None = None) -> Registry:
        """Tools of modules, given by import path (``tools.builtin``) or file (``…/tools.py``).

        Executes the modules in this process; for a project's code, the platform uses `tools.describe` instead.

        A module's tools are its ``TOOLS``, or else all ``@tool`` functions defined in it.

        Args:
            code: source code to execute in place of files, by path.

        Raises:
            ConfigError: a source can't be imported or has no tool.
        """
        return cls(tool for source in sources for tool in _tools_in(_import(source, code), source))

    def beside(self, others: Iterable[Tool]) -> Registry:
        """A registry of these tools and others. Raises ConfigError if two have the same name."""
        return Registry([*self._tools.values(), *others])

    def with_descriptions(self, descriptions: Mapping[str, str]) -> Registry:
        """A registry of these tools in which ``descriptions``, by tool name, replace those of the specs."""
        return Registry(
            replace(tool, spec=replace(tool.spec, description=descriptions.get(name, tool.spec.description)))
            for name, tool in self._tools.items()
        )

    def __contains__(self, name: str) -> bool:
        return name in self._tools

    def get(self, name: str) -> ToolSpec:
        """Spec of a tool. Raises NotFound with the known names."""
        return self.tool(name).spec

    def tool(self, name: str) -> Tool:
        """A tool with its function. Raises NotFound with the known names."""
        if name not in self._tools:
            known = ", ".join(sorted(self._tools)) or "none"
            raise NotFound(f"no tool is named {name!r}; known tools: {known}", param="tool")
        return self._tools[name]

    def tools(self) -> list[Tool]:
        return [*self._tools.values()]

    def specs(self) -> list[ToolSpec]:
        return [tool.spec for tool in self._tools.values()]

    def definitions(self, names: Iterable[str]) -> list[ToolDef]:
        """Definitions of the named tools for a model, in the given order. Raises NotFound."""
        from flightloop.chat import FunctionDef, ToolDef  # not needed by a tool host, which starts sooner without

        return [
            ToolDef(function=FunctionDef(name=spec.name, description=spec.description, parameters=spec.parameters))
            for spec in map(self.get, names)
        ]

    def _check_reconciler(self, spec: ToolSpec, name: str) -> None:
        found = self._tools.get(name)
        if found is None or found.spec.writes:
            raise ConfigError(f"{spec.name} is reconciled by {name}, but {name} must be a pure tool", param="tools")
        if found.spec.returns_untrusted and not spec.returns_untrusted:
            why = f"{name} may return untrusted text: mark {spec.name} with returns_untrusted as well"
            raise ConfigError(f"{spec.name} is reconciled by {name}, and {why}", param="tools")
        if lost := set(spec.trusted_fields) - set(found.spec.trusted_fields) if found.spec.returns_untrusted else ():
            why = f"{name} does not list the trusted fields {', '.join(sorted(lost))}"
            raise ConfigError(f"{spec.name} is reconciled by {name}, and {why}", param="tools")
        known, own = (set(one.parameters.get("properties", {})) for one in (spec, found.spec))
        if extra := own - known:
            asked = ", ".join(sorted(extra))
            raise ConfigError(f"{name} reconciles {spec.name}, which has no parameter {asked}", param="tools")

    def _check_dry_run(self, spec: ToolSpec, name: str) -> None:
        found = self._tools[name].spec if name in self._tools else None
        if found is None or found.writes or found.agent is not None:
            raise ConfigError(f"{spec.name} has the dry run {name}, but {name} must be a pure tool", param="tools")
        known, own = (set(one.parameters.get("properties", {})) for one in (spec, found))
        if extra := own - known:
            asked = ", ".join(sorted(extra))
            raise ConfigError(f"{name} is the dry run of {spec.name}, which has no parameter {asked}", param="tools")
        for rights in ("permissions", "hosts", "folders"):
            if more := set(getattr(found, rights)) - set(getattr(spec, rights)):
                told = ", ".join(sorted(map(str, more)))
                raise ConfigError(f"{name} is the dry run of {spec.name}, whose {rights} lack {told}", param="tools")

    def is_expensive(self, name: str, characters: int) -> bool:
        """Whether checking arguments of this length may take long."""
        return self._weights.get(name, 0) * characters > EXPENSIVE

    def problems(self, name: str, arguments: dict[str, Any], seconds: float = MOST_SECONDS) -> list[str]:
        """Errors in a call's arguments, worded for a model; empty if they are valid. Raises NotFound."""
        self.get(name)
        return problems_of(self._validators[name], arguments, seconds)

    def canonical(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Canonical form of valid arguments, in which they are shown and executed. Raises NotFound."""
        parameters = self.get(name).parameters
        full = canonical(arguments, parameters)
        added = full.keys() - arguments.keys()
        if not added or not self.problems(name, full):
            return full
        # Defaults may contradict each other, or what is given: fill in those that fit together.
        form = {key: full[key] for key in full if key not in added}
        for key in sorted(added):
            more = {**form, key: full[key]}
            form = form if self.problems(name, more) else more
        return form

    def identity(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Identity of a call, given its arguments in canonical form, by the tool's schema. Raises NotFound."""
        return identity(arguments, self.get(name).parameters)


def problems_of(validator: Any, arguments: dict[str, Any], seconds: float = MOST_SECONDS) -> list[str]:
    """Errors in arguments, worded for a model; empty if they are valid.

    Args:
        validator: from `tools.validation.validator_of`.
        seconds: CPU seconds for the check. Arguments that take longer are a problem of their own.
    """
    try:
        errors = errors_of(validator, arguments, seconds)
    except Unchecked as problem:
        return [str(problem)]
    said = dict.fromkeys(_message(error)[:LONGEST_PROBLEM] for error in errors)
    return list(said)[:MAX_PROBLEMS]


def _check_parameters(spec: ToolSpec) -> None:
    try:
        check(spec.parameters)
        check_schema(spec.parameters)
        unfit = unfit_defaults(spec.parameters)
    except Exception as problem:  # includes RecursionError and OverflowError: the schema may come from outside
        told = problem.message if isinstance(problem, SchemaError) else str(problem)[:500]
        raise ConfigError(f"tool {spec.name}: the schema of its parameters: {told}", param="tools") from problem
    for path, reason in unfit.items():
        hint = "; if it may be None, its type needs `| None`" if reason.startswith("None ") else ""
        why = f"its default does not fit its type: {reason[:200]}{hint}"
        raise ConfigError(f"tool {spec.name}: {path[-1]}: {why}", param="tools")


def _import(source: str | Path, code: Mapping[str, str] | None) -> ModuleType:
    try:
        if str(source).endswith(".py"):
            return import_file(Path(source), code)
        return importlib.import_module(str(source))
    except (Exception, SystemExit) as error:
        told = f"{source}{_line_in(error, str(source))}"
        raise ConfigError(f"tools of {told} can't be loaded: {type(error).__name__}: {error}", param="tools") from error


def _line_in(error: BaseException, file: str) -> str:
    """``:LINE`` of the file's line that raised an error; "" if another file raised it."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f":{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f":{lines[-1]}" if lines else ""


def _tools_in(module: ModuleType, source: str | Path) -> list[Tool]:
    declared = getattr(module, "TOOLS", None)
    if declared is None:
        declared = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
        found = [tool for tool in map(_as_tool, declared) if tool]
    else:
        found = []
        for entry in declared:
            tool = _as_tool(entry)
            if tool is None:
                raise ConfigError(f"{source}: TOOLS contains {entry!r}, which lacks @tool", param="tools")
            found.append(tool)
    if not found:
        raise ConfigError(f"{source} has no @tool function", param="tools")
    return found


def _as_tool(entry: Any) -> Tool | None:
    return entry if isinstance(entry, Tool) else tool_of(entry)


def _message(error: ValidationError) -> str:
    try:
        return _in_words(error)
    except Exception:  # an invalid rule in a place that the schema's own check doesn't cover
        return error.message


def _in_words(error: ValidationError) -> str:
    where = ".".join(map(str, error.absolute_path)) or "the arguments"
    value: Any = error.instance
    rule: Any = error.validator_value
    match error.validator:
        case "required":
            properties = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
            missing = [name for name in rule if name not in value] if isinstance(value, dict) else list(rule)
            return "; ".join(f"{name} is missing: give {_kind(properties.get(name, {}))}" for name in missing)
        case "additionalProperties":
            known = list(error.schema.get("properties", {})) if isinstance(error.schema, dict) else []
            extra = [name for name in dict(value) if name not in known]
            return f"{', '.join(extra)} is unknown: use only {', '.join(known) or 'no arguments'}"
        case "type":
            return f"{where} must be {_words(rule)}, not {_shown(value)}"
        case "enum":
            return f"{where} must be one of {', '.join(map(str, rule))}, not {_shown(value)}"
        case "const":
            return f"{where} must be {rule}, not {_shown(value)}"
        case "anyOf" | "oneOf":
            return f"{where} must be {_kind({error.validator: rule})}, not {_shown(value)}"
    return _limits(where, str(error.validator), rule, value) or f"{where}: {error.message[:200]}"


def _limits(where: str, validator: str, rule: Any, value: Any) -> str | None:
    phrases = {
        "minimum": "at least {}",
        "maximum": "at most {}",
        "exclusiveMinimum": "more than {}",
        "exclusiveMaximum": "less than {}",
        "minLength": "at least {} characters long",
        "maxLength": "at most {} characters long",
        "minItems": "a list of at least {} items",
        "maxItems": "a list of at most {} items",
        "pattern": "of the form {}",
        "format": "a valid {}",
    }
    phrase = phrases.get(validator)
    return f"{where} must be {phrase.format(rule)}, not {_shown(value)}" if phrase else None


def _words(kinds: str | list[str]) -> str:
    return " or ".join(WORDS.get(kind, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _kind(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "a value"
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "type" in schema:
        return _words(schema["type"])
    choices = schema.get("anyOf") or schema.get("oneOf") or []
    return " or ".join(dict.fromkeys(_kind(choice) for choice in choices)) or "a value"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
