from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tools.codescan import Language, Severity
from tools.codescan.dependencies import Dependencies, ask_index, simple_index, unknown_imports


def of_lock(
    folder: Path, name: str, text: str, language: Language = Language.PYTHON, **more: list[str]
) -> Dependencies:
    (folder / name).write_text(text)
    return Dependencies.of_lock(folder / name, language, **more)


def test_names_that_no_lock_file_has_are_found(tmp_path: Path) -> None:
    known = of_lock(tmp_path, "requirements.txt", "# pinned\nrequests==2.32.0\nPyYAML>=6\nscikit_learn[x]==1.5 ; a\n")
    text = "import os, yaml\nfrom sklearn import svm\nimport requests.auth\nfrom . import own\n"
    text += "import reqests\nimport shop.db\n"
    found = unknown_imports(text, known)
    assert [(finding.line, finding.reason.partition(" ")[0]) for finding in found] == [(5, "reqests"), (6, "shop")]
    assert found[0].reason.endswith("It is close to requests.")
    assert (found[0].cwe, found[0].rule) == (1357, "python.unknown-dependency")


def test_own_modules_are_known(tmp_path: Path) -> None:
    known = of_lock(tmp_path, "requirements.txt", "", local=["shop"])
    assert unknown_imports("import shop.db\nfrom shop import x\n", known) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uv.lock", '[[package]]\nname = "ruamel-yaml"\nversion = "1"\n'),
        ("poetry.lock", '[[package]]\nname = "ruamel.yaml"\n'),
    ],
)
def test_lock_files_of_other_tools_are_read(name: str, text: str, tmp_path: Path) -> None:
    assert unknown_imports("import ruamel.yaml\n", of_lock(tmp_path, name, text)) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pom.xml", "<dependency><groupId>com.fasterxml.jackson.core</groupId></dependency>"),
        ("build.gradle", "implementation 'com.fasterxml.jackson.core:jackson-databind:2.17.0'"),
        ("gradle.lockfile", "com.fasterxml.jackson.core:jackson-databind:2.17.0=compileClasspath"),
    ],
)
def test_groups_of_java_are_known(name: str, text: str, tmp_path: Path) -> None:
    known = of_lock(tmp_path, name, text, Language.JAVA, local=["shop.orders"])
    program = (
        "import java.util.List;\nimport com.fasterxml.jackson.databind.ObjectMapper;\nimport shop.orders.Order;\n"
        "import org.madeup.Thing;\nclass A {}\n"
    )
    assert [finding.line for finding in unknown_imports(program, known)] == [4]


def test_a_lock_file_has_a_limit(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="more than 5000000 bytes"):
        of_lock(tmp_path, "requirements.txt", "#" * 5_000_001)


@pytest.fixture
def index() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response({"/simple/requests/": 200, "/simple/broken/": 500}.get(self.path, 404))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


async def test_an_index_tells_which_names_are_invented(index: str) -> None:
    known = Dependencies(Language.PYTHON, frozenset())
    found = await ask_index(unknown_imports("import requests\nimport invented_thing\n", known), simple_index(index))
    assert [finding.severity for finding in found] == [Severity.MEDIUM, Severity.HIGH]
    assert "not in the package index" in found[1].reason


async def test_an_index_that_fails_is_no_answer(index: str) -> None:
    known = Dependencies(Language.PYTHON, frozenset())
    with pytest.raises(httpx.HTTPError):
        await ask_index(unknown_imports("import broken\n", known), simple_index(index))
