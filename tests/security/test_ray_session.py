"""Ray's folders and token are the platform's user's alone."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from agent.serve.session import FOLDER, TOKEN, TOKENS, make_private, private_session
from flightloop.errors import ConfigError


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (FOLDER, *TOKENS):
        monkeypatch.delenv(name, raising=False)
    # Undone afterwards, too, where the code sets them.
    monkeypatch.setattr(os, "environ", os.environ.copy())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("named", [True, False])
def test_the_folder_is_ours_alone_and_goes_with_the_cluster(tmp_path: Path, named: bool) -> None:
    before = os.umask(0)
    try:
        if named:
            os.environ[FOLDER] = str(tmp_path)
        with private_session():
            folder = Path(os.environ[FOLDER])
            assert folder.parent == (tmp_path if named else Path(tempfile.gettempdir()))
            assert (mode(folder), folder.stat().st_uid) == (0o700, os.geteuid())
            (folder / "ray").mkdir()
        assert not folder.exists()
        assert os.environ.get(FOLDER) == (str(tmp_path) if named else None)
    finally:
        os.umask(before)


def test_each_process_has_a_token_of_its_own_unless_one_is_named(tmp_path: Path) -> None:
    os.environ[FOLDER] = str(tmp_path)
    make_private()
    first = os.environ.pop(TOKEN)
    assert len(first) == 64
    make_private()
    assert os.environ.pop(TOKEN) != first
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(tmp_path / "token")
    make_private()
    assert TOKEN not in os.environ


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    os.environ[FOLDER] = str(tmp_path)
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write"):
        make_private()
    tmp_path.chmod(0o1777)  # as /tmp: nobody removes what is another's
    assert make_private().parent == tmp_path
    os.environ[FOLDER] = str(tmp_path / "none")
    with pytest.raises(ConfigError, match="can't be used"):
        make_private()
