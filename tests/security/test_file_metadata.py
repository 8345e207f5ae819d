"""Modes, owners, times and attributes of files outside scratch stay as they are; in scratch, copies still work."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.security.conftest import WAYS, Deployment
from tools.host import ToolOutcome
from tools.sandbox.syscalls import NUMBERS

Python = Callable[..., Awaitable[ToolOutcome]]

BY_NAME = """
import os
def tried(what):
    try:
        what()
        print('done')
    except OSError as error:
        print(type(error).__name__)
for path in ('HOME/key', 'HOME', 'HOME/data', 'HOME/data/shop.db'):
    tried(lambda: os.chmod(path, 0o777))
    tried(lambda: os.chmod(path, 0o4755))
    tried(lambda: os.chown(path, 0, 0))
    tried(lambda: os.lchown(path, 1, 1))
    tried(lambda: os.utime(path, (1, 1)))
    tried(lambda: os.setxattr(path, 'user.a', b'b'))
    tried(lambda: os.removexattr(path, 'user.a'))
"""
BY_NUMBER = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
path, at = b'PATH', -100
zeros = ctypes.create_string_buffer(256)
how = (ctypes.c_uint64 * 3)(0, 0, 0)
for call in CALLS:
    result = libc.syscall(*call)
    print(call[0], 'done' if result >= 0 else os.strerror(ctypes.get_errno()))
"""
CALLS = """[
    (90, path, 0o777), (92, path, 0, 0), (94, path, 0, 0), (132, path, zeros), (235, path, zeros),
    (260, at, path, 0, 0, 0), (261, at, path, zeros), (268, at, path, 0o777), (280, at, path, zeros, 0),
    (452, at, path, 0o777, 0), (188, path, b'user.a', b'b', 1, 0), (189, path, b'user.a', b'b', 1, 0),
    (463, at, path, 0, b'user.a', zeros, 16), (466, at, path, 0, b'user.a'), (469, at, path, zeros, 24, 0),
]"""
IN_SCRATCH = """
import os, shutil, tarfile, time, zipfile
open('a', 'w').write('text')
os.chmod('a', 0o640)
os.chmod('a', os.stat('a').st_mode)  # with the file's type, as Java's File.setReadable
shutil.copy('a', 'b')
os.utime('a', (1e9, 1e9))
shutil.copy2('a', 'c')
print(oct(os.stat('b').st_mode), int(os.stat('c').st_mtime))
with zipfile.ZipFile('z.zip', 'w') as made:
    made.write('a', 'in/a')
with zipfile.ZipFile('z.zip') as made:
    made.extractall('out')
with tarfile.open('t.tar', 'w') as made:
    made.add('a')
with tarfile.open('t.tar') as made:
    made.extractall('untarred')
shutil.copytree('out', 'tree')
shutil.make_archive('packed', 'zip', 'tree')
from pathlib import Path
Path('touched').touch()
with open('a') as opened:
    os.fchmod(opened.fileno(), 0o600)
    os.utime(opened.fileno(), (2e9, 2e9))
print(oct(os.stat('a').st_mode), int(os.stat('a').st_mtime), sorted(os.listdir()))
os.symlink('a', 'link')
os.chmod('link', 0o644)
print(oct(os.stat('a').st_mode))
"""
SET_ID = """
import os
def tried(what):
    try:
        what()
        print('done')
    except OSError as error:
        print(type(error).__name__)
open('plain', 'w').close()
tried(lambda: os.chmod('plain', 0o4755))
tried(lambda: os.chmod('plain', 0o2755))
tried(lambda: os.open('made', os.O_CREAT | os.O_WRONLY, 0o4755))
tried(lambda: os.mkdir('folder', 0o2777))
tried(lambda: os.mknod('node', 0o104755))
"""


def state(path: Path) -> tuple[int, ...]:
    known = path.stat()
    return known.st_mode, known.st_uid, known.st_gid, int(known.st_mtime)


@pytest.fixture
def kept(deployment: Deployment) -> Callable[[], list[tuple[int, ...]]]:
    shop = deployment.data / "shop.db"
    shop.write_text("rows")
    places = [deployment.key, deployment.home, shop]
    return lambda: [state(place) for place in places]


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_nothing_outside_scratch_is_changed(
    deployment: Deployment, python: Python, kept: Callable[[], list[tuple[int, ...]]], mechanisms: tuple[str, ...]
) -> None:
    deployment.mechanisms = mechanisms
    await python("1")  # a host has the data folder from its start on
    before = kept()
    tried = (await python(BY_NAME)).content["output"]
    assert "done" not in tried
    assert len(tried.split()) == 28, tried
    assert kept() == before


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
@pytest.mark.parametrize("target", ["HOME/key", "HOME/data/shop.db", "/etc/passwd"])
async def test_no_variant_of_the_calls_changes_it_either(
    deployment: Deployment, python: Python, kept: Callable[[], list[tuple[int, ...]]], target: str
) -> None:
    await python("1")
    before = kept()
    code = BY_NUMBER.replace("CALLS", CALLS).replace("PATH", target)
    tried = (await python(code)).content["output"]
    assert "done" not in tried
    assert len(tried.splitlines()) == 15, tried
    assert kept() == before


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_copies_and_archives_work_in_scratch(
    deployment: Deployment, python: Python, mechanisms: tuple[str, ...]
) -> None:
    deployment.mechanisms = mechanisms
    result = (await python(IN_SCRATCH)).content
    assert result["exit"] == "ok", result["output"]
    first, second, third = result["output"].splitlines()
    assert first == "0o100640 1000000000"
    assert second.startswith(
        "0o100600 2000000000 ['a', 'b', 'c', 'out', 'packed.zip', 't.tar', 'touched', 'tree', 'untarred'"
    )
    assert third == "0o100644"


async def test_no_file_gets_a_set_id_bit(python: Python) -> None:
    assert (await python(SET_ID)).content["output"].split() == ["PermissionError"] * 5


def test_the_table_knows_every_call_of_the_other_architecture() -> None:
    only_there = {"open", "creat", "mkdir", "mknod", "chmod", "chown", "lchown", "utime", "utimes", "futimesat", "fork"}
    missing = NUMBERS["x86_64"].keys() - NUMBERS["aarch64"].keys()
    assert missing == only_there | {"vfork", "iopl", "ioperm", "modify_ldt", "inotify_init"}
    assert NUMBERS["aarch64"].keys() <= NUMBERS["x86_64"].keys()


ORACLE = """
import os
for target in ('HOME/key', 'HOME/nothing', '/nothing/there'):
    os.symlink(target, 'link')
    try:
        os.chmod('link', 0o600)
    except OSError as error:
        print(type(error).__name__, error.errno)
    os.unlink('link')
"""


async def test_errors_do_not_tell_what_there_is(python: Python) -> None:
    told = (await python(ORACLE)).content["output"].splitlines()
    assert len(told) == 3
    assert len(set(told)) == 1, told


LINKS = '''
import os
from flightloop.tool import ToolContext, tool

@tool(effect="unsafe")
def change(context: ToolContext) -> list:
    """Gives a file of the data folder a second name in scratch, and changes it by that."""
    told = []
    for act in (
        lambda: os.link(context.data / "shop.db", "second"),
        lambda: os.chmod("second", 0o777),
        lambda: os.utime("second", (1, 1)),
    ):
        try:
            told.append(str(act()))
        except OSError as error:
            told.append(type(error).__name__)
    return told
'''


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_a_second_name_in_scratch_changes_nothing_elsewhere(
    deployment: Deployment, kept: Callable[[], list[tuple[int, ...]]], tmp_path: Path, mechanisms: tuple[str, ...]
) -> None:
    deployment.mechanisms = mechanisms
    (tmp_path / "tools.py").write_text(LINKS)
    hosts = await deployment.hosts(tmp_path / "tools.py")
    assert (await hosts.call("change", {}, deployment.context())).ok
    before = kept()
    assert (await hosts.call("change", {}, deployment.context())).ok
    assert kept() == before
    known = (deployment.data / "shop.db").stat()
    assert known.st_mode & 0o777 != 0o777
    assert known.st_mtime > 1
