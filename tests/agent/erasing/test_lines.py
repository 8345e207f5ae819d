"""Lines of files: removed in place or by writing the file anew, and nothing else is touched."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.erasing.lines import overwrite, rewrite

LINES = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=8)


@given(lines=LINES, whole=st.booleans(), gone=st.sets(st.integers(0, 7)))
def test_only_what_is_wanted_goes(tmp_path_factory: object, lines: list[bytes], whole: bool, gone: set[int]) -> None:
    marked = [(b"X" if at in gone else b"-") + line for at, line in enumerate(lines)]
    data = b"\n".join(marked) + (b"\n" if whole and marked else b"")
    complete = marked if whole else marked[:-1]
    folder = tmp_path_factory.mktemp("lines")  # type: ignore[attr-defined]
    path = folder / "a.jsonl"

    path.write_bytes(data)
    wanted = [line for line in complete if line.startswith(b"X")]
    assert overwrite(path, lambda line: line.startswith(b"X")) == len(wanted)
    after = path.read_bytes()
    assert len(after) == len(data)
    assert [line for line in after.split(b"\n") if line.startswith(b"-")] == [
        line for line in data.split(b"\n") if line.startswith(b"-")
    ]
    assert overwrite(path, lambda line: line.startswith(b"X")) == 0

    path.write_bytes(data)
    assert rewrite(path, lambda line: line.startswith(b"X")) == sum(line.startswith(b"X") for line in marked)
    kept = [line for line in marked if line.startswith(b"-")]
    assert path.read_bytes().rstrip(b"\n") == b"\n".join(kept).rstrip(b"\n")
    assert os.listdir(folder) == ["a.jsonl"]


def test_a_line_of_usual_length_stays_json(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"run": "mine", "x": 1}\n{"run": "other"}\n', encoding="utf-8")
    assert overwrite(path, lambda line: b"mine" in line) == 1
    first, second = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert (first, second) == ({"erased": True}, {"run": "other"})


def test_who_appends_meanwhile_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with open(path, "ab", buffering=0) as writer:
        writer.write(b'{"run": "mine", "text": "long enough"}\n')

        def wanted(line: bytes) -> bool:
            writer.write(b'{"run": "late"}\n' if b"mine" in line else b"")
            return b"mine" in line

        assert overwrite(path, wanted) == 1
        writer.write(b'{"run": "last"}\n')
    assert [json.loads(line).get("run") for line in path.read_bytes().splitlines()] == [None, "late", "last"]


def test_a_dry_run_changes_nothing_and_a_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"X1\n-2\n")
    path.chmod(0o640)
    assert overwrite(path, lambda line: line[:1] == b"X", dry_run=True) == 1
    assert rewrite(path, lambda line: line[:1] == b"X", dry_run=True) == 1
    assert path.read_bytes() == b"X1\n-2\n"
    assert rewrite(path, lambda line: line[:1] == b"X") == 1
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"-2\n", 0o640)
