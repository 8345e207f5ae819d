"""What ``pip install flightloop`` brings: the client, httpx and pydantic with what these need, and its types."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from agent.testing.platform import Platform

SDK = Path(__file__).parents[2] / "sdk"
PROGRAM = """
import sys
from typing import assert_type
from flightloop import Flightloop
from flightloop.runs import Page, Run

with Flightloop(sys.argv[1], sys.argv[2]) as client:
    page = client.runs.list()
    assert_type(page, Page[Run])
    print(len(page.data), "runs")
"""


def needed(*names: str) -> Iterator[Distribution]:
    """Distributions with all that they need, extras left out."""
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except ModuleNotFoundError:  # only on another platform or for an older Python
            continue
        yield found
        waiting += [re.split(r"[^\w.-]", line)[0] for line in found.requires or [] if "extra ==" not in line]


def copied(work: Path) -> Path:
    """The SDK's sources, in a folder that may be written."""
    ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    return Path(shutil.copytree(SDK, work / "sdk", ignore=ignored))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("wheel")
    copied(work)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(work), str(work / "sdk")], check=True, capture_output=True)
    (found,) = work.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(wheel, tmp_path_factory.mktemp("venv"))


def environment(wheel: Path, home: Path) -> Path:
    """The interpreter of an environment that has the wheel and what its metadata name, and nothing else."""
    venv.create(home, with_pip=False, symlinks=True)
    (site,) = home.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for found in needed("httpx", "pydantic"):
        for name in {path.parts[0] for path in found.files or [] if path.parts[0] not in ("..", "__pycache__")}:
            (site / name).symlink_to(str(found.locate_file(name)))
    return home / "bin/python"


@pytest.mark.slow
def test_it_needs_httpx_and_pydantic_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    needs = re.findall(r"^Requires-Dist: ([\w-]+)(.*)$", metadata, re.MULTILINE)
    assert {name for name, rest in needs if "extra ==" not in rest} == {"httpx", "pydantic"}
    assert "flightloop/py.typed" in names
    assert "flightloop/template/agents/NAME.yaml" in names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"flightloop"}


@pytest.mark.slow
def test_it_works_where_nothing_else_is(installed: Path, platform: Platform, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [str(installed), "-I", "-W", "error", str(program), platform.url, platform.api_key]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "0 runs\n"), done.stderr


@pytest.mark.slow
def test_a_strict_type_checker_sees_its_types(installed: Path, tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM + "    client.runs.create(agnet='a', input='b')\n")
    options = ["--strict", "--python-executable", str(installed), "--cache-dir", str(tmp_path / "cache")]
    report, problems, _ = api.run([*options, "--config-file=", str(program)])
    assert problems == ""
    assert report.count("error:") == 1, report
    assert 'Unexpected keyword argument "agnet"' in report


@pytest.mark.slow
def test_an_editable_install_is_found_beside_a_folder_of_its_name(platform: Platform, tmp_path: Path) -> None:
    sources = copied(tmp_path)
    build = "import sys; from setuptools.build_meta import build_editable; build_editable(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=sources, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = environment(wheel, tmp_path / "venv")
    (tmp_path / "beside" / "flightloop" / "docs").mkdir(parents=True)  # a checkout
    program = tmp_path / "beside" / "program.py"
    program.write_text(PROGRAM)
    command = [str(installed), "-E", str(program), platform.url, platform.api_key]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "0 runs\n"), done.stderr
