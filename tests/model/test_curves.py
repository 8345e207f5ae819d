from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from flightloop.errors import ConfigError
from model.tuner.__main__ import app
from model.tuner.curves import PICTURE, Curve, Picture, draw, read
from model.tuner.tuner import HISTORY, Progress

SVG = "{http://www.w3.org/2000/svg}"


def tuned(folder, losses, evaluations=()):
    folder.mkdir(parents=True, exist_ok=True)
    measured = dict(evaluations)
    steps = [
        {"step": step, "loss": loss, "tokens": 1000 * step, "evaluation": measured.get(step)}
        for step, loss in enumerate(losses, 1)
    ]
    (folder / HISTORY).write_text("".join(json.dumps(step) + "\n" for step in steps))
    return folder


def test_a_history_becomes_a_curve(tmp_path):
    folder = tuned(tmp_path / "first", [2.0, 1.5, 1.0], {3: 1.1}.items())
    with (folder / HISTORY).open("a") as file:
        file.write('{"step": 4, "los')  # a tuning is at it
    assert read([folder]) == [Curve("first", ((1000, 2.0), (2000, 1.5), (3000, 1.0)), ((3000, 1.1),))]


def test_folders_of_the_same_name_go_by_their_paths(tmp_path):
    folders = [tuned(tmp_path / name / "tuned", [1.0]) for name in ("a", "b")]
    assert [curve.name for curve in read(folders)] == [str(folder) for folder in folders]


@pytest.mark.parametrize("history", [None, "", "no JSON\n", "[]\n", '{"loss": 1}\n', '{"loss": null, "tokens": 1}\n'])
def test_what_is_no_history_is_named(tmp_path, history):
    if history is not None:
        (tmp_path / HISTORY).write_text(history)
    with pytest.raises(ConfigError, match=HISTORY):
        read([tmp_path])


@given(losses=st.lists(st.floats(0, 20), min_size=1, max_size=60))
def test_the_running_mean_stays_among_the_losses(losses):
    smoothed = Curve("x", tuple((float(place), loss) for place, loss in enumerate(losses, 1))).smoothed()
    assert len(smoothed) == len(losses)
    assert all(min(losses) - 1e-9 <= loss <= max(losses) + 1e-9 for _, loss in smoothed)


@given(
    st.lists(
        st.tuples(
            st.lists(st.floats(0, 20), min_size=1, max_size=2000),
            st.lists(st.floats(0, 20), max_size=3),
            st.text("<&a"),
        ),
        min_size=1,
        max_size=4,
    )
)
@example([([5e-324], [], "")])
@example([([20.0, 20.0 + 1e-12], [], "")])
def test_all_points_lie_in_the_picture(runs):
    curves = [
        Curve(
            name,
            tuple((1000.0 * place, loss) for place, loss in enumerate(losses, 1)),
            tuple((1000.0, loss) for loss in held_out),
        )
        for losses, held_out, name in runs
    ]
    root = ElementTree.fromstring(draw(curves))
    _, _, width, height = map(float, root.get("viewBox").split())
    for line in root.iter(f"{SVG}polyline"):
        points = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
        assert len(points) <= 2000
    assert len(list(root.iter(f"{SVG}circle"))) == sum(len(curve.held_out) + 1 for curve in curves)


def test_the_picture_is_drawn_now_and_then_and_at_the_end(tmp_path):
    now = 0.0
    picture = Picture(tuned(tmp_path, [2.0, 1.0]), 300.0, clock=lambda: now)

    def drawn(step, evaluation=None):
        picture.told(Progress(step, 9, 1.0, 1000, 10.0, 0.5, evaluation))
        made = (tmp_path / PICTURE).exists()
        (tmp_path / PICTURE).unlink(missing_ok=True)
        return made

    assert not drawn(1)
    now = 300.0
    assert drawn(2)
    assert not drawn(3)
    assert drawn(4, evaluation=1.2)
    assert drawn(9)


def test_the_command_draws_one_beside_its_history_and_several_where_one_says(tmp_path):
    folders = [tuned(tmp_path / name, [2.0, 1.0]) for name in ("a", "b")]
    assert CliRunner().invoke(app, ["curves", str(folders[0])]).exit_code == 0
    assert (folders[0] / PICTURE).exists()
    out = tmp_path / "both.svg"
    assert CliRunner().invoke(app, ["curves", *map(str, folders), "--out", str(out)]).exit_code == 0
    assert all(f">{name}<" in out.read_text() for name in "ab")
    assert CliRunner().invoke(app, ["curves", str(tmp_path / "nowhere")]).exit_code == 1
