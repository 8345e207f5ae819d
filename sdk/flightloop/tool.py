"""``@tool`` declares a function as a tool of agents; its schema comes from type hints and docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints, overload

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, create_model
from pydantic.fields import FieldInfo

from flightloop.nearest import did_you_mean
from flightloop.subject import Subject

Function = TypeVar("Function", bound=Callable[..., Any])
Known = TypeVar("Known", bound=StrEnum)


class Effect(StrEnum):
    """Effect of a call, which determines how a lost call is recovered."""

    PURE = "pure"  # none: call again
    KEYED = "keyed"  # the receiver honours an idempotency key: call again with the same key
    TRANSACTIONAL = "transactional"  # effect and receipt are one transaction: read the receipt
    UNSAFE = "unsafe"  # unknown after a crash: never call again automatically, find out what happened


class Permission(StrEnum):
    NETWORK = "network"  # outgoing TCP connections, to ``hosts``
    FILES = "files"  # reads and writes ``folders``, besides the deployment's tool data and its own scratch folder
    SUBPROCESS = "subprocess"  # starts programs


_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
LONGEST_CALL_S = 86_400.0
MOST_CLAIMS, LONGEST_CLAIM = 32, 100
MOST_RETRIES = 10
EVERY_FIELD = ("*",)
"""``trusted_fields`` of a tool that declares ``returns_untrusted=False``."""
POLICY_EGRESS = "@egress"
"""In ``hosts``: all hosts on the egress list of the agent's policy."""


@dataclass(frozen=True)
class ProjectData:
    """A project's data as declared in its ``project.yaml`` (docs/agents.md), read by built-in tools."""

    folder: Path | None = None
    """Folder of the project; its ``documents/`` are searched if the tools' data has none."""
    database: str | None = None
    """SQLite file in the folder of the tools' data."""
    tables: tuple[str, ...] = ()
    """Tables that ``query_sql`` and the other tools for the database may read."""
    products: str | None = None
    """SELECT for the products."""
    terms: tuple[tuple[str, str], ...] = ()
    """Kinds of names (carrier, payment method), each with a SELECT for the names."""
    synonyms: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Other names of products, such as those in other languages, by the product's name."""


NO_DATA = ProjectData()


@dataclass(frozen=True)
class ToolContext:
    """Context of the current call, passed to a parameter of this type."""

    key: str
    """Idempotency key (``run_id:step:call_index``), the same for every attempt."""
    tenant_id: str
    agent: str
    session_id: str
    run_id: str
    data: Path
    """Folder of the deployment's tool data."""
    egress: tuple[str, ...] = ()
    """Hosts on the egress list of the agent's policy."""
    traceparent: str | None = None
    project: ProjectData = NO_DATA
    subject: Subject | None = None
    """End user on whose behalf the run acts; None: anonymous. Never an argument: the model can't change it."""
    words: str = ""
    """The user's latest message, for ``search_knowledge`` only: other tools get what the model passes to them."""


@dataclass(frozen=True)
class ToolSpec:
    """Declaration of a tool, without its code. ``parameters`` is a JSON Schema of type object.

    Raises:
        ValueError: ``timeout_s`` is not above 0 or more than a day, ``claims`` are too many or too long, or ``retries``
            are not allowed.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    effect: Effect
    timeout_s: float = 30.0
    permissions: frozenset[Permission] = frozenset()
    hosts: tuple[str, ...] = ()
    """Allowed destinations: ``HOST`` (ports 80 and 443), ``HOST:PORT``, ``*`` for every public address, or
    `POLICY_EGRESS`. Addresses of this machine need a port; the platform's own ports are never allowed.
    """
    folders: tuple[str, ...] = ()
    """Absolute paths of folders that the tool may read and write."""
    sinks: tuple[str, ...] = ()
    """Arguments that name a destination (recipient, URL, account); policies check where their values come from."""
    returns_untrusted: bool = False
    """Whether results may contain text from untrusted sources."""
    trusted_fields: tuple[str, ...] = ()
    """Fields of a result, an object or a list of objects, whose values come from the tool's own system; ``*``: all."""
    reconcile: str | None = None
    """Name of a pure tool that finds the outcome of a lost call from its key and arguments."""
    dry_run: str | None = None
    """Name of a pure tool that tells a person what a call would change, from its arguments."""
    agent: str | None = None
    """Agent that performs the calls, each in its own run, instead of the function."""
    claims: tuple[str, ...] = ()
    """Words with which an answer claims that a call was made; default: forms of the verbs in name and description."""
    retries: int = 0
    """Maximum number of further attempts after a failed call, with the same key and within ``timeout_s``."""

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= LONGEST_CALL_S:
            raise ValueError(
                f"{self.name}: timeout_s must be above 0 and at most {LONGEST_CALL_S:g}, not {self.timeout_s}"
            )
        if len(self.claims) > MOST_CLAIMS or any(not 1 < len(one.strip()) <= LONGEST_CLAIM for one in self.claims):
            raise ValueError(f"{self.name}: claims: at most {MOST_CLAIMS} phrases of 2 to {LONGEST_CLAIM} characters")

        if not 0 <= self.retries <= MOST_RETRIES:
            raise ValueError(f"{self.name}: retries must be 0 to {MOST_RETRIES}, not {self.retries}")
        if self.retries and self.effect is Effect.UNSAFE:
            raise ValueError(
                f"{self.name}: an unsafe tool can't have retries, because a failed call may have had its effect;"
                " declare the effect pure, keyed or transactional if it is one of these"
            )

    @property
    def writes(self) -> bool:
        return self.effect is not Effect.PURE


@dataclass(frozen=True)
class Tool:
    spec: ToolSpec
    function: Callable[..., Any]
    context_parameter: str | None = field(default=None)


class ToolRefused(Exception):
    """Raised by a tool if arguments or state forbid the call. The model reads the message.

    It means that the call had no effect. After any other exception the effect is unknown, so a repeated call waits for
    approval, unless the policy says otherwise (``repeated_writes``).
    """


@overload
def tool(function: Function, /) -> Function: ...
@overload
def tool(
    *,
    effect: Effect | str = ...,
    name: str | None = ...,
    timeout_s: float = ...,
    permissions: tuple[Permission | str, ...] = ...,
    hosts: tuple[str, ...] = ...,
    folders: tuple[str, ...] = ...,
    sinks: tuple[str, ...] = ...,
    returns_untrusted: bool | None = ...,
    trusted_fields: tuple[str, ...] = ...,
    reconcile: str | None = ...,
    dry_run: str | None = ...,
    claims: tuple[str, ...] = ...,
    retries: int = ...,
) -> Callable[[Function], Function]: ...
def tool(
    function: Any = None,
    /,
    *,
    effect: Effect | str = Effect.UNSAFE,
    name: str | None = None,
    timeout_s: float = 30.0,
    permissions: tuple[Permission | str, ...] = (),
    hosts: tuple[str, ...] = (),
    folders: tuple[str, ...] = (),
    sinks: tuple[str, ...] = (),
    returns_untrusted: bool | None = None,
    trusted_fields: tuple[str, ...] = (),
    reconcile: str | None = None,
    dry_run: str | None = None,
    claims: tuple[str, ...] = (),
    retries: int = 0,
) -> Any:
    """Declares a function as a tool. The default effect is ``unsafe``.

    A tool with the ``network`` permission names the ``hosts`` that it connects to; one with ``files`` may name
    ``folders``. The kernel enforces both (`ToolSpec`).

    Values from a result with untrusted text (``returns_untrusted=True``) don't justify arguments of later calls, except
    those in its ``trusted_fields``: numbers, dates and states that the tool's own system made. With
    ``returns_untrusted=False``, all fields are trusted. A tool that declares neither is trusted as a destination's
    source, but its values don't justify identifiers and amounts of writes.

    ``reconcile`` of an unsafe tool names a pure tool with the same parameters, or fewer. It is called after a crash and
    returns what the lost call returned, or None if the call did not happen.

    ``dry_run`` names a pure tool with the same parameters, or fewer, and no further permissions. It is called when a
    call has to wait for a person, who sees its result: what the call would change. It has 10 seconds.

    An answer that claims a call was made is checked against the run's calls. By default claims are recognised by the
    verbs of name and description ("I have renewed …", "… has been renewed"). ``claims`` replaces these verbs: single
    words are past forms (``"extended"``), longer ones are literal phrases (``"wurde verlängert"``).

    A failed call (the tool raised, or its process ended) is repeated at most ``retries`` times, with the same key,
    after pauses that double, while ``timeout_s`` lasts. ``ToolRefused`` and timeouts are final.

    The first paragraph of the docstring describes the tool, and its ``Args:`` section the parameters. Types, defaults
    and ``Annotated[..., Field(...)]`` define the schema. A parameter annotated ``ToolContext`` is filled by the runtime
    and hidden from the model.

    Raises:
        TypeError: a parameter has no type hint, a type without a JSON Schema, or can't be given by name; there is no
            docstring; ``reconcile`` is set on a tool that isn't unsafe, ``dry_run`` on a pure one, or
            ``trusted_fields`` on one without ``returns_untrusted``; or permissions and ``hosts`` or ``folders`` don't
            match.
        ValueError: ``timeout_s`` is not above 0 or more than a day, ``claims`` are too many or too long, ``retries`` is
            above 10 or set on an unsafe tool, or an effect or permission is unknown.
    """

    def declare(target: Function) -> Function:
        schema, context = _schema_of(target)
        spec = ToolSpec(
            name=name or target.__name__,
            description=_summary(target),
            parameters=schema,
            effect=_one_of(Effect, "effect", effect, target),
            timeout_s=timeout_s,
            permissions=frozenset(_one_of(Permission, "permission", item, target) for item in permissions),
            hosts=tuple(hosts),
            folders=tuple(folders),
            sinks=sinks,
            returns_untrusted=bool(returns_untrusted),
            trusted_fields=EVERY_FIELD if returns_untrusted is False and not trusted_fields else tuple(trusted_fields),
            reconcile=reconcile,
            dry_run=dry_run,
            claims=tuple(claims),
            retries=retries,
        )
        if reconcile is not None and spec.effect is not Effect.UNSAFE:
            raise TypeError(f"{spec.name}: only an unsafe tool can have reconcile; this one is {spec.effect}")
        if dry_run is not None and not spec.writes:
            raise TypeError(f"{spec.name}: a pure tool changes nothing, so it can't have dry_run")
        if trusted_fields and not returns_untrusted:
            raise TypeError(
                f"{spec.name}: trusted_fields require returns_untrusted=True; with returns_untrusted=False all fields"
                " are trusted"
            )
        if "*" in trusted_fields:
            raise TypeError(
                f'{spec.name}: trusted_fields: "*" is no field; if all are trusted, returns_untrusted=False'
            )
        _check_rights(spec)
        unknown = set(sinks) - set(schema["properties"])
        if unknown:
            raise TypeError(f"{spec.name}: sinks: the function has no parameter {', '.join(sorted(unknown))}")
        target.__flightloop_tool__ = Tool(spec, target, context)  # type: ignore[attr-defined]
        return target

    return declare if function is None else declare(function)


def _one_of(kind: type[Known], what: str, given: str, function: Callable[..., Any]) -> Known:
    """The enum member. Raises ValueError that lists the known values."""
    try:
        return kind(given)
    except ValueError:
        known = [one.value for one in kind]
        told = (did_you_mean(str(given), known), f"known: {', '.join(known)}")
        raise ValueError(f"{function.__name__}: no {what} is named {given!r}; {' '.join(filter(None, told))}") from None


def _check_rights(spec: ToolSpec) -> None:
    if Permission.NETWORK in spec.permissions and not spec.hosts:
        raise TypeError(
            f"{spec.name}: the network permission needs hosts=(…), the hosts to connect to: "
            f'"api.example.com", "db.internal:5432", "*" for any public host, or POLICY_EGRESS for the policy\'s list'
        )
    for permission, name, given in (
        (Permission.NETWORK, "hosts", spec.hosts),
        (Permission.FILES, "folders", spec.folders),
    ):
        if given and permission not in spec.permissions:
            raise TypeError(f"{spec.name}: {name} needs permissions=({permission.value!r},)")
    for folder in spec.folders:
        if not Path(folder).is_absolute():
            raise TypeError(f"{spec.name}: folders: {folder} must be an absolute path")


def tool_of(function: Callable[..., Any]) -> Tool | None:
    """The declaration that ``@tool`` attached to a function; None without one."""
    found = getattr(function, "__flightloop_tool__", None)
    return found if isinstance(found, Tool) else None


def _schema_of(function: Callable[..., Any]) -> tuple[dict[str, Any], str | None]:
    hints = get_type_hints(function, include_extras=True)
    described = _described_args(inspect.getdoc(function) or "")
    fields: dict[str, Any] = {}
    context = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in hints:
            raise TypeError(f"{function.__name__}: parameter {parameter.name} needs a type hint")
        if parameter.kind not in _BY_NAME:
            raise TypeError(
                f"{function.__name__}: parameter {parameter}: the model gives arguments by name, so it can't be *args,"
                " **kwargs or positional-only"
            )
        if hints[parameter.name] is ToolContext:
            context = parameter.name
            continue
        if _mentions_context(hints[parameter.name]):
            raise TypeError(f"{function.__name__}: parameter {parameter.name}: its type hint must be just ToolContext")
        required = parameter.default is inspect.Parameter.empty
        info = FieldInfo.from_annotation(hints[parameter.name])
        info.default = ... if required else parameter.default
        info.description = info.description or described.get(parameter.name)
        fields[parameter.name] = (hints[parameter.name], info)
    return _without_titles(_json_schema(function.__name__, fields)), context


def _json_schema(function: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Schema of an object with the fields. Raises TypeError that names the first one whose type has none."""
    try:
        return _of_fields(function, fields)
    except PydanticUserError:
        for name, field_ in fields.items():
            try:
                _of_fields(function, {name: field_})
            except PydanticUserError as its_error:
                why = its_error.message.split("\n")[0].split(". ")[0]
                raise TypeError(f"{function}: parameter {name}: its type has no JSON Schema ({why})") from None
        raise


def _of_fields(function: str, fields: dict[str, Any]) -> dict[str, Any]:
    model = create_model(function, __config__=ConfigDict(extra="forbid"), **fields)
    return TypeAdapter(model).json_schema()


def _mentions_context(hint: Any) -> bool:
    """Whether a hint contains ToolContext. Then the model would have to provide what the platform knows."""
    return hint is ToolContext or any(map(_mentions_context, get_args(hint)))


def _without_titles(node: Any) -> Any:
    """Removes the titles that pydantic adds to every node; they waste a small model's context."""
    if isinstance(node, dict):
        return {
            key: {name: _without_titles(below) for name, below in value.items()}
            if key == "properties"
            else _without_titles(value)
            for key, value in node.items()
            if not (key == "title" and isinstance(value, str))
        }
    return [_without_titles(item) for item in node] if isinstance(node, list) else node


def _summary(function: Callable[..., Any]) -> str:
    text = inspect.getdoc(function)
    if not text:
        raise TypeError(f"{function.__name__}: a tool needs a docstring, because the model reads it")
    return " ".join(re.split(r"\n\s*\n|\n(?=Args:|Returns:|Raises:)", text)[0].split())


def _described_args(doc: str) -> dict[str, str]:
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", doc, re.MULTILINE)
    if not section:
        return {}
    entries = re.findall(r"^ {2,4}(\w+)(?: \([^)]*\))?:\s*((?:.+\n?)(?:^ {5,}.+\n?)*)", section.group(1), re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}
