"""Modules of a project's folder: what is imported, under which name, and what a host goes on with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flightloop.errors import ConfigError
from flightloop.tool import ToolContext
from tools.config import ToolsConfig
from tools.describe import load_tools
from tools.host import ToolHosts
from tools.project_modules import MOST_MODULES, code_of, import_file, import_module, modules_of
from tools.registry import Registry

TOOLS = """
from flightloop import tool
from .helpers import words
from .shop.orders import LATEST

@tool(effect="pure")
def greet() -> str:
    "Greets."
    from . import later
    return f"{words.GREETING} {LATEST} {later.NAME}"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "tools.py": TOOLS,
        "later.py": "NAME = 'later'\n",
        "helpers/__init__.py": "",
        "helpers/words.py": "GREETING = 'hello'\n",
        "shop/__init__.py": "from ..helpers.words import GREETING\n",
        "shop/orders.py": "from . import GREETING\nLATEST = len(GREETING)\n",
        "no_package/lost.py": "",
        "notes.txt": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def context(data: Path) -> ToolContext:
    return ToolContext("run:0:0", "default", "agent", "session", "run", data)


def test_modules_are_those_of_the_folder_and_of_its_packages(project: Path) -> None:
    (project / "linked.py").symlink_to(project / "later.py")
    assert [str(path.relative_to(project)) for path in modules_of(project)] == [
        "later.py", "tools.py", "shop/__init__.py", "shop/orders.py", "helpers/__init__.py", "helpers/words.py",
    ]  # fmt: skip


def test_they_import_each_other_and_change_nothing_for_others(project: Path) -> None:
    (project / "json.py").write_text("raise ImportError('it is no library')")
    path = list(sys.path)
    assert Registry.load([project / "tools.py"]).tool("greet").function() == "hello 5 later"
    assert sys.path == path
    assert not {"helpers", "shop", "later"} & set(sys.modules)


def test_a_changed_module_is_imported_anew(project: Path) -> None:
    assert import_module(project, "helpers.words").GREETING == "hello"
    (project / "helpers" / "words.py").write_text("GREETING = 'good day'\n")
    assert import_module(project, "helpers.words").GREETING == "good day"


def test_texts_take_the_place_of_files(project: Path) -> None:
    code = code_of(project)
    (project / "tools.py").write_text("raise ValueError('broken')")
    (project / "helpers" / "words.py").write_text("raise ValueError")
    (project / "shop" / "__init__.py").unlink()
    assert import_file(project / "tools.py", code).greet() == "hello 5 later"
    with pytest.raises(ValueError, match="broken"):
        import_file(project / "tools.py")


@pytest.mark.parametrize("linked", ["later.py", "helpers", "helpers/words.py"])
def test_links_are_not_imported(project: Path, tmp_path_factory: pytest.TempPathFactory, linked: str) -> None:
    outside = tmp_path_factory.mktemp("outside") / Path(linked).name
    (project / linked).rename(outside)
    (project / linked).symlink_to(outside)
    with pytest.raises(ImportError, match="is a link"):
        import_file(project / "tools.py").greet()


async def test_hosts_go_on_with_the_modules_that_were_loaded(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = tmp_path_factory.mktemp("data")
    loaded = load_tools([project / "tools.py"], ToolsConfig())
    (project / "helpers" / "words.py").write_text("raise ValueError")
    async with ToolHosts(loaded, ToolsConfig(spare=0), data) as hosts:
        outcome = await hosts.call("greet", {}, context(data))
    assert (outcome.content, outcome.error) == ("hello 5 later", None)


def test_a_mistake_names_the_file_and_the_line(project: Path) -> None:
    (project / "helpers" / "words.py").write_text("\nimport nothing_of_that_name\n")
    with pytest.raises(ConfigError, match=r"tools\.py:3 can't be loaded: ModuleNotFoundError: .*nothing_of_that_name"):
        load_tools([project / "tools.py"], ToolsConfig())


def test_modules_and_their_bytes_have_an_end(project: Path) -> None:
    with (project / "large.py").open("w") as file:
        file.truncate(9 * 1024**2)
    assert str(project / "large.py") in code_of(project)
    with (project / "larger.py").open("w") as file:
        file.truncate(9 * 1024**2)
    with pytest.raises(ConfigError, match="bytes together"):
        code_of(project)
    for number in range(MOST_MODULES):
        (project / f"module{number}.py").touch()
    with pytest.raises(ConfigError, match=f"more than {MOST_MODULES} modules"):
        modules_of(project)
