"""A platform that is started in somebody else's folder: nothing there is a module to any of its processes."""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from click import Command, Context

from agent.serve.folder import RELATIVE, leave_for_platform, make_absolute
from agent.store.sql.urls import absolute
from tests.security.platforms import ROOT, on_ray

INSTALLED = {name for name in packages_distributions() if name.isidentifier()}
PACKAGES = {path.parent.name for path in ROOT.glob("*/__init__.py")}
SITE = {"sitecustomize", "usercustomize"}
OUT_OF_REACH = {"agent", "tests", "tools"}
"""Plain ``python -m`` takes the first for the platform's, see docs/security.md; the others are no traps here."""


def with_traps(folder: Path, names: set[str]) -> Path:
    """Fills the folder with modules of these names. Returns the file in which each leaves a line that is imported."""
    trace = folder.parent / "trace"
    said = f"open({str(trace)!r}, 'a').write(f'{{__name__}} in {{sys.orig_argv}}\\n')"
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(f"import sys\n{said}\nraise ImportError('a stranger is here')\n")
    return trace


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["project, python -P", "other folder"])
def test_no_process_of_a_platform_on_ray_imports_what_lies_where_it_was_started(tmp_path: Path, kind: str) -> None:
    folder, is_project = tmp_path / "folder", kind.startswith("project")
    if is_project:
        trace = with_traps(folder, {*INSTALLED, *PACKAGES, *SITE, *sys.stdlib_module_names} - {"tools"})
        (folder / "agents").mkdir()
        (folder / "tools.py").touch()
    else:  # what Python looks for before any code of ours is its own
        trace = with_traps(folder, {*INSTALLED, *PACKAGES} - OUT_OF_REACH)
    settings = {"FLIGHTLOOP_HOME": "state", "FLIGHTLOOP_DATABASE_URL": "sqlite:///runs.db"}
    with on_ray(
        tmp_path, FLIGHTLOOP_MODEL_URL="http://127.0.0.1:1", FLIGHTLOOP_MODEL_NAME="none", **settings
    ) as platform:
        try:
            family = platform.start(folder=folder, options=["-P"] if is_project else [])
            places = {each.cwd() for each in family if each.name().startswith(("ray", "gcs_server"))}
            assert places == {str(ROOT)}
            assert platform.end(signal.SIGINT) == 0
        finally:
            assert not trace.exists(), trace.read_text()
    assert (folder / "state" / "key").is_file(), "what settings name is where the platform was started"
    assert (folder / "runs.db").is_file()


def test_ray_under_serve_run_works_among_the_platforms_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    leave_for_platform()
    assert os.getcwd() == str(tmp_path), "it is called by somebody else"
    for name in RELATIVE:
        with Context(Command("run")) as context:
            context.params = {name: "."}
            leave_for_platform()
        assert os.getcwd() == str(tmp_path)
    with Context(Command("run")) as context:
        context.params = {"working_dir": None, "reload": False, "app_dir": "."}
        leave_for_platform()
    assert os.getcwd() == str(ROOT)


def test_folders_in_the_environment_are_the_same_for_processes_in_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project" / "agents").mkdir(parents=True)
    (tmp_path / "project" / "tools.py").touch()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "modules", "project", "/elsewhere", ""]))
    monkeypatch.setenv("RAY_TMPDIR", "ray")
    monkeypatch.delenv("TMPDIR", raising=False)
    make_absolute()
    assert os.environ["PYTHONPATH"] == os.pathsep.join([str(tmp_path / "modules"), "/elsewhere"])
    assert (os.environ["RAY_TMPDIR"], "TMPDIR" in os.environ) == (str(tmp_path / "ray"), False)


def test_a_database_is_the_same_for_processes_in_other_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("sqlite+aiosqlite:///a b.db?timeout=1") == f"sqlite:///{tmp_path}/a b.db?timeout=1"
    for unchanged in ("sqlite:////data/runs.db", "sqlite://", "postgresql+psycopg://me:secret@db/runs"):
        assert absolute(unchanged) == unchanged
