"""Keys and journals below what a tool may read are not shown: other platforms' homes, and secrets beside code."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from flightloop.errors import ConfigError
from tests.security.conftest import KEY, WAYS, Deployment
from tests.security.test_tool_files import READERS, STEALS, declare, project
from tools.config import ToolsConfig
from tools.describe import described
from tools.host import ToolHosts

__all__ = ["project"]

HOMES = ("deploy/.flightloop/key", "a/b/.flightloop/logs/log", "state/key", "state/flightloop.db", "flightloop.db-wal")
"""Of other platforms: by name, by the journal beside, and a journal alone."""


def put(folder: Path, names: Iterable[str]) -> list[Path]:
    """Files with the key."""
    for path in (paths := [folder / name for name in names]):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(KEY)
    return paths


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_other_platforms_homes_are_not_shown_wherever_they_lie(
    deployment: Deployment, project: Path, mechanisms: tuple[str, ...]
) -> None:
    deployment.mechanisms = mechanisms
    homes = put(project.parent, HOMES)
    (project.parent / "deploy" / "notes.txt").write_text("beside")
    (project.parent / "link").symlink_to(project.parent / "deploy")
    hosts = await deployment.hosts(project)
    for reader in READERS:
        for path in (*homes, project.parent / "link" / ".flightloop" / "key"):
            seen = await hosts.call(reader, {"path": str(path)}, deployment.context())
            assert seen.ok, seen.error
            assert KEY not in str(seen.content), (reader, path)
        beside = await hosts.call(reader, {"path": str(project.parent / "deploy/notes.txt")}, deployment.context())
        assert beside.content == "beside", reader


def test_other_platforms_homes_are_not_shown_while_tools_are_loaded(tmp_path: Path) -> None:
    homes = put(tmp_path, HOMES)
    for home in homes:
        (tmp_path / "tools.py").write_text(STEALS.format(key=str(home), trace=str(tmp_path / "trace")))
        seen = described([tmp_path / "tools.py"], ToolsConfig()).get("told").description
        assert seen in ("PermissionError", "FileNotFoundError"), home


@pytest.mark.parametrize("folder", ["own/repository", "own/repository/deploy/.flightloop/data"])
async def test_a_folder_with_another_platforms_home_is_refused(
    deployment: Deployment, project: Path, tmp_path: Path, folder: str
) -> None:
    put(tmp_path / "own" / "repository", HOMES)
    (tmp_path / folder).mkdir(exist_ok=True)
    declare(project, str(tmp_path / folder))
    hosts = await deployment.hosts(project)
    refused = await hosts.call("read_with_files", {"path": "x"}, deployment.context())
    assert "where a platform may have its keys; use a narrower folder" in str(refused.error)


async def test_a_folder_of_too_much_to_look_through_is_refused(
    deployment: Deployment, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.parent / "many").mkdir()
    for number in range(60):
        (project.parent / "many" / f"{number}.txt").touch()
    hosts = await deployment.hosts(project)
    monkeypatch.setattr("tools.hidden.MOST_ENTRIES", 50)
    refused = await hosts.call("whoami", {}, deployment.context())
    assert f"{project.parent} has more than 50 files and folders" in str(refused.error)


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_of_a_checkout_whose_modules_are_installed_only_code_is_shown(
    deployment: Deployment, project: Path, tmp_path: Path, mechanisms: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``pip install -e`` puts it on the path of modules."""
    deployment.mechanisms = mechanisms
    checkout = tmp_path / "checkout"
    hidden = put(checkout, (".env", ".env.local", ".git/config", "backend/.env", *HOMES))
    (checkout / "backend" / "code.py").write_text("code")
    monkeypatch.setattr(sys, "path", [*sys.path, str(checkout)])
    hosts = await deployment.hosts(project)
    for path in hidden:
        seen = await hosts.call("read", {"path": str(path)}, deployment.context())
        assert seen.content in ("PermissionError", "FileNotFoundError"), path
    assert (
        await hosts.call("read", {"path": str(checkout / "backend/code.py")}, deployment.context())
    ).content == "code"


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_what_lies_beside_pythons_installation_is_not_shown(
    deployment: Deployment, project: Path, tmp_path: Path, mechanisms: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the environment was made in a project's own folder."""
    deployment.mechanisms = mechanisms
    [key] = put(tmp_path / "prefix", ["notes/key"])
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    hosts = await deployment.hosts(project)
    seen = await hosts.call("read", {"path": str(key)}, deployment.context())
    assert seen.content in ("PermissionError", "FileNotFoundError")


def moved(file: Path, folder: Path) -> None:
    """Leaves a link in its place."""
    folder.mkdir()
    file.rename(folder / file.name)
    file.symlink_to(folder / file.name)


async def test_tools_behind_a_link_are_refused(deployment: Deployment, project: Path, tmp_path: Path) -> None:
    """Else the folder that it leads to would be shown in place of the project's."""
    moved(project, tmp_path / "foreign")
    for load in (lambda: described([project], ToolsConfig()), lambda: ToolHosts([project])):
        with pytest.raises(ConfigError, match="it is a link; put the file itself there"):
            load()
    (tmp_path / "way").symlink_to(tmp_path / "foreign")
    hosts = await deployment.hosts(tmp_path / "way" / "tools.py")
    assert (await hosts.call("whoami", {}, deployment.context())).ok, "a link may lead to the folder"
