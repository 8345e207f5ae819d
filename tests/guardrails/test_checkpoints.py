"""A reader of a growing file of checkpoints finds what one that begins anew finds."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from guardrails import checkpoints
from guardrails.audit_keys import AuditKey, FixedKeys
from guardrails.checkpoints import Checkpoint, CheckpointFile, read_checkpoints

KEY = AuditKey(b"a" * 32)
KEYS = FixedKeys((KEY,))


def lines(count: int) -> list[Checkpoint]:
    made = [Checkpoint.signed(KEY, None, file="f", at="2026-01-01T00:00:00+00:00", begins={})]
    for number in range(1, count):
        fields = {"tenant_id": f"t{number % 2}", "seq": number, "sha256": "0"}
        made.append(Checkpoint.signed(KEY, made[-1], file="f", at="2026-01-01T00:00:00+00:00", **fields))
    return made


WHOLE = "".join(line.line for line in lines(6)).encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.one_of(
    st.tuples(st.just("grow"), st.integers(0, len(WHOLE))),
    st.tuples(st.just("edit"), st.integers(0, len(WHOLE) - 1)),
    st.tuples(st.just("spoil"), st.integers(0, len(WHOLE) - 1)),
    st.tuples(st.just("cut"), st.integers(0, len(WHOLE))),
), max_size=8))  # fmt: skip
@example([("grow", len(WHOLE)), ("spoil", 5), ("spoil", 5)])
def test_a_growing_file_is_read_as_if_it_were_new(tmp_path: Path, steps: list[tuple[str, int]]) -> None:
    path, data = tmp_path / "checkpoints.jsonl", WHOLE[:0]
    path.write_bytes(data)
    reader = CheckpointFile(path, KEYS)
    for kind, place in steps:
        if kind == "grow":
            data += WHOLE[len(data) : max(place, len(data))]
        elif kind == "cut":
            data = data[:place]
        elif place < len(data):  # "spoil" gives what isn't UTF-8, and, when it is repeated, the earlier byte
            data = data[:place] + bytes([data[place] ^ (0x80 if kind == "spoil" else 1)]) + data[place + 1 :]
        path.write_bytes(data)
        assert reader.read() == read_checkpoints(path, KEYS)


def test_only_what_was_appended_is_parsed(tmp_path: Path, monkeypatch: object) -> None:
    path, made = tmp_path / "checkpoints.jsonl", lines(50)
    reader = CheckpointFile(path, KEYS)
    checked: list[int] = []
    check = checkpoints._fault

    def counted(one: Checkpoint, *given: object) -> object:
        checked.append(one.number)
        return check(one, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoints, "_fault", counted)  # type: ignore[attr-defined]
    for line in made:
        with path.open("a") as file:
            file.write(line.line)
        assert reader.read().last == line
    assert checked == list(range(50))
