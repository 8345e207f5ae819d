"""``flightloop tune`` beside a platform, and without one."""

import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from flightloop.cli.tune import tuner_command
from flightloop.errors import ConfigError

TUNER = "import sys; print(sys.argv[1:]); raise SystemExit(7)"


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    """A folder with a package that looks like the platform's."""
    tuner = tmp_path / "platform" / "model" / "tuner"
    tuner.mkdir(parents=True)
    for folder in (tuner.parent, tuner):
        (folder / "__init__.py").touch()
    (tuner / "__main__.py").write_text(TUNER)
    return tmp_path / "platform"


@pytest.mark.parametrize("arguments", [["rows.jsonl", "--epochs", "2", "--out=x y"], ["--help"], []])
def test_arguments_and_exit_code_are_the_tuners(platform: Path, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "model").mkdir()  # of the working directory: not the platform's
    (tmp_path / "model" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    sdk = Path(__file__).parents[2] / "sdk"
    command = [sys.executable, "-P", "-c", "from flightloop.cli import main; main()", "tune", *arguments]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (platform, sdk)))}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == str(["fit", *arguments]), done.stderr
    assert done.returncode == 7


def test_without_the_platform_it_says_where_to_tune(tmp_path: Path) -> None:
    other = ModuleSpec("model", None, is_package=True)  # somebody else's package of that name
    other.submodule_search_locations = [str(tmp_path)]
    for found in (None, ModuleSpec("model", None), other):
        with pytest.raises(ConfigError, match="make setup"):
            tuner_command(["rows.jsonl"], lambda name, found=found: found)
