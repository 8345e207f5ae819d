"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Collection
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["agent", "model", "tools", "guardrails", "observability", "dashboards", "bench"]
PLATFORM = ["sdk", "agent", "model", "tools", "guardrails", "observability", "dashboards"]
TEXTS = {".py", ".yaml", ".yml", ".json", ".jsonl", ".md", ".sql", ".toml", ".txt"}
MOST_LINES = 400
# Which folders may import a heavy or far-reaching library.
HOMES = {
    "torch": ("model/", "guardrails/rails/", "bench/"),
    "ray": ("model/serve/", "agent/serve/", "observability/serve/", "agent/app.py"),
    "sqlalchemy": ("agent/store/sql/",),
    "alembic": ("agent/store/sql/",),
    "streamlit": ("dashboards/",),
}


def tracked(pattern: str) -> list[Path]:
    names = subprocess.run(["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.splitlines() if (ROOT / name).is_file()]


def sources() -> list[Path]:
    return [path for path in tracked("*.py") if path.relative_to(ROOT).parts[0] in PACKAGES]


@cache
def import_nodes(path: Path) -> list[ast.AST]:
    """Imports of a module, read once for all tests."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in import_nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("name", PACKAGES)
def test_the_roots_are_this_checkout(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).parent == ROOT / name


def test_no_module_is_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in tracked("*.py")}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_two_modules_import_each_other() -> None:
    modules = {module_of(path): path for path in tracked("*.py") if path.relative_to(ROOT).parts[0] != "tests"}
    arrows = {name: targets(path, modules.keys()) for name, path in modules.items()}
    assert [(a, b) for a in arrows for b in arrows[a] if a < b and a in arrows[b]] == []


def test_few_modules_lie_in_the_root_of_agent() -> None:
    assert {path.name for path in tracked("agent/*.py") if path.parent == ROOT / "agent"} == {
        "__init__.py", "__main__.py", "app.py", "config.py",
    }  # fmt: skip


def test_only_tests_and_measurements_import_fakes() -> None:
    fakes = {"agent.testing", "flightloop.testing"}
    users = {path.relative_to(ROOT) for path in [*sources(), *tracked("sdk/*.py")] if fakes & imported(path)}
    assert {user for user in users if user.parts[0] != "bench" and user.parts[:2] != ("agent", "testing")} == set()


def imported(path: Path) -> set[str]:
    """Modules that a module imports, and the packages that these lie in."""
    found: set[str] = set()
    for node in import_nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found | {name.rsplit(".", depth)[0] for name in found for depth in range(1, name.count(".") + 1)}


def test_the_platform_knows_no_example() -> None:
    """Neither by an import nor by its tools' names, comments and data included."""
    tools = re.findall(r"^@tool\b.*?^def (\w+)", (ROOT / "examples/support/tools.py").read_text(), re.M | re.S)
    assert "refund_order" in tools
    known = re.compile(rf"\b({'|'.join(tools)})\b|^\s*(from|import) examples\b|examples\.support|tools\.shop", re.M)
    strays = []
    for path in [path for package in PLATFORM for path in tracked(f"{package}/*")]:
        # The tuner's families and desks are made-up tools of many trades.
        if path.suffix in TEXTS and not {"families", "desks"} & set(path.parts) and known.search(path.read_text()):
            strays.append(str(path.relative_to(ROOT)))
    assert strays == []


def test_examples_know_the_sdk_only() -> None:
    users = {path: imports_of(path) & set(PACKAGES) for path in tracked("examples/*.py")}
    assert {str(path): found for path, found in users.items() if found} == {}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[1:] if parts[0] == "sdk" else parts).removesuffix(".__init__")


def targets(path: Path, modules: Collection[str]) -> set[str]:
    """Modules of ours that a module imports."""
    found = set()
    for node in import_nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in modules else node.module for name in names}
    return found & set(modules)


@pytest.mark.parametrize("library", sorted(HOMES))
def test_libraries_stay_in_their_rooms(library: str) -> None:
    strays = []
    for path in sources():
        name = str(path.relative_to(ROOT))
        if library in imports_of(path) and not name.startswith(HOMES[library]):
            strays.append(name)
    assert strays == []


def test_the_client_needs_httpx_and_pydantic_only() -> None:
    allowed = {"httpx", "pydantic", "pydantic_core", "flightloop", "annotated_types", "typing_extensions"}
    standard = set(sys.stdlib_module_names)
    strays = {}
    for path in tracked("sdk/flightloop/*.py"):
        if "cli" in path.parts or path.name.startswith("cli") or "template" in path.parts:
            continue
        extra = imports_of(path) - allowed - standard
        if extra:
            strays[path.name] = extra
    assert strays == {}


def test_nothing_pickled_is_loaded() -> None:
    loads = re.compile(r"\b(pickle\.load|joblib\.load|torch\.load|np\.load\([^)]*allow_pickle=True)")
    assert [str(path.relative_to(ROOT)) for path in sources() if loads.search(path.read_text())] == []


def test_links_in_the_documents_lead_somewhere() -> None:
    dead = []
    for page in tracked("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists():
                dead.append(f"{page.relative_to(ROOT)} -> {target}")
    assert dead == []


def test_without_a_model_of_our_own_nothing_needs_torch() -> None:
    entries = ["agent.app", "agent.serve.up", "agent.serve.ingress", "agent.serve.worker", "agent.serve.standalone"]
    code = "import sys\n" + "".join(f"import {entry}\nprint('{entry}', 'torch' in sys.modules)\n" for entry in entries)
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert [line for line in out.stdout.splitlines() if line.startswith("agent.")] == [
        f"{one} False" for one in entries
    ]
