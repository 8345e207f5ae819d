"""The pages and the code agree: links, settings, files, commands, options, routes, and names that users write."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import typer.main
import yaml

from agent import admin
from agent.api import create_app
from agent.config import Settings
from agent.evals.task import Task, Turn
from agent.project.agent_spec import AgentSpec
from agent.project.project_file import ProjectFile
from agent.testing.api import api_deps
from bench import __main__ as bench
from flightloop import Flightloop, acts, errors, events, keys
from flightloop.cli.app import app as client
from flightloop.runs import Run, RunStatus, StopReason
from flightloop.tool import ToolContext, tool
from guardrails import limit_rules, policy_document, rail_entries, subject_policy
from guardrails.egress_document import Egress, UrlShape
from model.tuner import __main__ as tuner

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
USERS_PAGES = [page for page in PAGES if page.parent.name != "decisions"]
COMMANDS = {
    name: typer.main.get_command(app)
    for name, app in {
        "python -m agent": admin.app,
        "python -m bench": bench.app,
        "python -m model.tuner": tuner.app,
        "flightloop": client,
    }.items()
}
FENCED = re.compile(r"^[ ]*```(\w*)\n(.*?)^[ ]*```", re.DOTALL | re.MULTILINE)
VARIABLE = re.compile(r"\bFLIGHTLOOP_[A-Z0-9_]*[A-Z0-9]\b")
FOLDERS = "agent|model|tools|guardrails|observability|dashboards|examples|bench|deploy|docs|tests|sdk"


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    return FENCED.sub("", text(page))


def shown(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def anchors(page: Path) -> frozenset[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(anchor if anchor not in found else f"{anchor}-1")
    return frozenset(found)


@cache
def variables() -> frozenset[str]:
    """Environment variables of the platform: those of the settings, and those that other files name."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    kinds = (".py", ".sh", ".yaml", ".yml", ".toml")
    paths = [ROOT / name for name in names.splitlines() if Path(name).suffix in kinds and not name.startswith("tests/")]
    found = {f"FLIGHTLOOP_{name.upper()}" for name in Settings.model_fields}
    return frozenset(found.union(*(VARIABLE.findall(path.read_text(encoding="utf-8")) for path in paths)))


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", USERS_PAGES, ids=shown)
def test_settings_and_files_exist(page: Path) -> None:
    assert {name for name in VARIABLE.findall(text(page)) if name not in variables()} == set()
    paths = re.findall(rf"`((?:{FOLDERS})/[\w./*-]+)`", text(page))
    assert [path for path in paths if not list(ROOT.glob(path.rstrip("/")))] == []


@pytest.mark.parametrize("page", USERS_PAGES, ids=shown)
def test_blocks_can_be_read(page: Path) -> None:
    for language, block in FENCED.findall(text(page)):
        if language == "python":
            ast.parse(block)
        elif language == "yaml":
            list(yaml.safe_load_all(block))
        elif language == "toml":
            tomllib.loads(block)
        elif language == "json":
            _read_json(block)


def _read_json(block: str) -> None:
    try:
        json.loads(block)
    except ValueError:  # a document a line
        for line in block.strip().splitlines():
            json.loads(line)


def command_lines(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields the commands of a page, with the words after each."""
    lines = [line for _, block in FENCED.findall(text(page)) for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", prose(page))
    for line in lines:
        for name in COMMANDS:
            before = r"(?:\$ )?(?:[A-Z_]+=\S+ )*" if name == "flightloop" else ".*"
            if match := re.fullmatch(rf"{before}{name}(?! is up)(?: (.*))?", line.split("  #")[0].strip()):
                told = re.split(r" [|>&] ", match[1] or "")[0]
                yield name, shlex.split(told.replace("[", "").replace("]", ""))


def unknown(name: str, words: list[str]) -> list[str]:
    """Words that a command line's parser would refuse: subcommands and options."""
    command, found = COMMANDS[name], []
    for word in words:
        known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
        if word.startswith("-") and not re.match(r"-\d", word):
            found += [] if word.split("=")[0] in known | {"--help"} else [word]
        elif word in getattr(command, "commands", {}):
            command = command.commands[word]  # type: ignore[attr-defined]
        elif re.fullmatch(r"[a-z][a-z-]+,?", word) and hasattr(command, "commands") and word == words[0]:
            found.append(word)
    return found


@pytest.mark.parametrize("page", USERS_PAGES, ids=shown)
def test_commands_and_options_exist(page: Path) -> None:
    wrong = [(name, words, unknown(name, words)) for name, words in command_lines(page)]
    assert [line for line in wrong if line[2]] == []


def test_make_help_names_every_target() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", text(ROOT / "Makefile"), re.MULTILINE)
    assert phony is not None
    assert set(re.findall(r"^make ([\w-]+)", told, re.MULTILINE)) == set(phony[1].split())
    assert "UP_ARGS=" in told


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield path, command
    for name, one in getattr(command, "commands", {}).items():
        yield from leaves(one, f"{path} {name}".strip())


@pytest.mark.parametrize(("name", "page"), [("python -m agent", "operations"), ("flightloop", "sdk")])
def test_every_command_is_described(name: str, page: str) -> None:
    told = text(ROOT / f"docs/{page}.md")
    inner = "|".join(re.findall(r"`([^`\n]+)`", told))
    missing = []
    for path, _ in leaves(COMMANDS[name], ""):
        whole, last = f"{name} {path}", path.split()[-1]
        if not re.search(rf"{whole}\b", told) and not re.search(rf"(?:^|\|)(?:{path}|{last})\b", inner):
            missing.append(path)
    assert missing == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name: str) -> None:
    silent = [
        f"{path} {parameter.name}"
        for path, command in leaves(COMMANDS[name], name)
        for parameter in command.params
        if parameter.name != "help" and not getattr(parameter, "help", None)
    ]
    assert silent == []


def test_routes_are_those_of_the_api() -> None:
    page = text(ROOT / "docs/api.md")
    paths = create_app(api_deps()).openapi()["paths"]
    routes = {(method.upper(), re.sub(r"\{\w+\}", "{}", path)) for path, methods in paths.items() for method in methods}
    told = re.sub(r"\{\w+\}", "{}", page)
    assert {path for _, path in routes if not re.search(rf"{re.escape(path)}[`,?\s]", told)} == set()
    named = re.findall(r"`(GET|POST|DELETE) (/v1/[\w/{}]+)", told)
    assert {(method, path.rstrip("/")) for method, path in named} - routes == set()
    parameters = [
        one for methods in paths.values() for method in methods.values() for one in method.get("parameters", [])
    ]
    queries = {one["name"] for one in parameters if one["in"] == "query"}
    assert {name for name in queries if not re.search(rf"[`?&]{name}\b", page)} == set()


def test_the_run_that_the_page_shows_is_one() -> None:
    shown = next(block for _, block in FENCED.findall(text(ROOT / "docs/api.md")) if '"stop_reason"' in block)
    assert json.loads(shown).keys() <= Run.model_fields.keys()
    assert Run.model_validate_json(shown).output_text == "Your order 10101 is on its way."
    told = text(ROOT / "docs/api.md")
    assert [one for one in [*RunStatus, *StopReason] if f"`{one}`" not in told and not one.startswith("budget_")] == []


def fields(*models: Any) -> set[str]:
    return {field.alias or name for model in models for name, field in model.model_fields.items()}


def entries() -> list[type[rail_entries.RailEntry]]:
    return rail_entries.RailEntry.__subclasses__()


def methods() -> set[str]:
    """Public methods of the client, as ``runs.create`` or ``whoami``."""
    found: set[str] = set()
    with Flightloop("http://platform.test", "a key of the test") as sdk:
        for name in dir(sdk):
            value = getattr(sdk, name)
            if name.startswith("_") or name in ("close", "chat") or isinstance(value, str):
                continue
            found |= {name} if callable(value) else {f"{name}.{one}" for one in dir(value) if one[0] != "_"}
    return found


def event_types() -> set[str]:
    kinds = (getattr(events, name) for name in dir(events))
    return {
        kind.model_fields["type"].default
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event
    }


def server_codes() -> set[str]:
    """Codes of errors that the API answers with."""
    local = {"error", "config_error", "connection_failed", "generation_failed", "not_flightloop"}
    kinds = (getattr(errors, name) for name in dir(errors))
    return {kind.code for kind in kinds if isinstance(kind, type) and issubclass(kind, errors.FlightloopError)} - local


POLICY = fields(
    policy_document.PolicyDocument, policy_document.StagePolicy, policy_document.ToolsPolicy,
    policy_document.ArgumentRule, policy_document.AskRule, policy_document.ReadRule, policy_document.Constitution,
    limit_rules.LimitRule, subject_policy.Binding, subject_policy.SubjectPolicy, Egress, UrlShape, *entries(),
)  # fmt: skip


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("guardrails", POLICY | {entry.model_fields["rail"].annotation.__args__[0] for entry in entries()}),
        ("tools", {*tool.__kwdefaults__, *ToolContext.__dataclass_fields__}),
        ("agents", fields(AgentSpec, ProjectFile, Task, Turn)),
        ("api", event_types() | server_codes()),
        ("api", {role.value for role in keys.Role}),
        ("security", {act.value for act in acts.Act}),
        ("architecture", {path.parent.name for path in (ROOT / "agent").glob("*/__init__.py")}),
    ],
    ids=["policies", "tools", "project", "events and errors", "roles", "acts", "packages"],
)
def test_every_name_that_users_meet_is_described(page: str, names: Iterable[str]) -> None:
    told = text(ROOT / f"docs/{page}.md")
    assert sorted(name for name in names if not re.search(rf"(?<![\w.]){re.escape(name)}\b", told)) == []


def rail_of(entry: type[rail_entries.RailEntry]) -> str:
    return str(entry.model_fields["rail"].annotation.__args__[0])  # type: ignore[union-attr]


def choices(annotation: Any) -> set[str]:
    """Values that a type lists."""
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return set().union(*map(choices, get_args(annotation)))


@pytest.mark.parametrize("entry", entries(), ids=rail_of)
def test_parameters_of_rails_are_listed_and_explained_with_their_values(entry: type[rail_entries.RailEntry]) -> None:
    rail, rows = rail_of(entry), re.findall(r"^\| (`.*) \|$", text(ROOT / "docs/guardrails.md"), re.MULTILINE)
    parameters = {name: field for name, field in entry.model_fields.items() if name not in ("rail", "tools")}
    listed = next(row for row in rows if row.startswith(f"`{rail}` |")).rpartition("|")[2]
    assert re.findall(r"`(\w+)`", listed) == list(parameters)
    for name, field in parameters.items():
        told = " ".join(row for row in rows if re.match(rf"[^|]*`{name}`(?:[^|]* of `{rail}`)? \|", row))
        assert told, name
        values = choices(field.annotation) if name != "kinds" else ()  # kinds have a table of their own
        assert sorted(value for value in values if not re.search(rf"[`\[ ]{value}[`\], ]", told)) == [], name


def test_every_method_of_the_client_is_described() -> None:
    told = text(ROOT / "docs/sdk.md")
    missing = []
    for whole in methods():
        owner, _, method = whole.rpartition(".")  # a row of the table has `runs.get(id)`, `.list(…)`
        if not re.search(rf"`{whole}\(", told) and not re.search(rf"`{owner}\.\w.*`\.{method}\(", told):
            missing.append(whole)
    assert missing == []


def test_the_readme_is_short() -> None:
    assert len(text(ROOT / "README.md").splitlines()) < 150
