from __future__ import annotations

from pathlib import Path

import pytest

from flightloop.tool import ProjectData, ToolContext, ToolRefused
from tests.tools.vision.drawing import bar_chart, table_image, text_image
from tools.builtin import read_image
from tools.config import ToolsConfig
from tools.host import ToolHosts

CITIES = ("Oslo", "Lima", "Rome", "Kyiv")


@pytest.fixture
def project(tmp_path: Path) -> ToolContext:
    folder, data = tmp_path / "project", tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    data.mkdir()
    (folder / "images" / "sales.png").write_bytes(bar_chart([(35, 81, 12, 57)], CITIES))
    (tmp_path / "secret.png").write_bytes(text_image(("secret",)))
    project = ProjectData(folder=folder)
    return ToolContext("run:0:0", "default", "support", "session", "run", data, project=project)


def test_a_chart_of_the_project_is_described(project: ToolContext) -> None:
    found = read_image(project, "images/sales.png")
    assert found["kind"] == "bar chart"
    assert [value[0] for value in found["series"][0]["values"]] == list(CITIES)
    assert found["value_axis"]["scale"] == "linear"
    assert any(text.startswith("largest value") and text.endswith("at Lima") for text in found["key_points"])
    assert found["advised_chart"]["chart"] == "bar"
    assert "vega_lite" not in found["advised_chart"]
    assert "vega_lite" in read_image(project, "images/sales.png", with_chart=True)["advised_chart"]


def test_files_of_the_tools_data_come_first(project: ToolContext) -> None:
    rows = (("Name", "Units"), ("Apples", "120"), ("Pears", "85"), ("Plums", "70"))
    (project.data / "images").mkdir()
    (project.data / "images" / "sales.png").write_bytes(table_image(rows, ruled=True))
    found = read_image(project, "images/sales.png")
    assert (found["kind"], found["columns"], found["rows"][0]) == ("table", ["Name", "Units"], ["Apples", "120"])


@pytest.mark.parametrize("path", ["../secret.png", "images/../../secret.png", "/etc/passwd", "images/\0.png"])
def test_a_path_out_of_the_project_is_refused(project: ToolContext, path: str) -> None:
    with pytest.raises(ToolRefused, match="inside the project's folder"):
        read_image(project, path)


def test_symbolic_links_are_not_followed(project: ToolContext, tmp_path: Path) -> None:
    assert project.project.folder is not None
    (project.project.folder / "link.png").symlink_to(tmp_path / "secret.png")
    (project.project.folder / "folder").symlink_to(tmp_path)
    for path in ("link.png", "folder/secret.png", "images", "nothing.png"):
        with pytest.raises(ToolRefused, match="no file"):
            read_image(project, path)


def test_a_file_that_is_no_image_is_refused(project: ToolContext) -> None:
    assert project.project.folder is not None
    (project.project.folder / "notes.png").write_text("not an image")
    with pytest.raises(ToolRefused, match=r"notes\.png: The content is not PNG"):
        read_image(project, "notes.png")


def test_text_of_an_image_is_untrusted() -> None:
    spec = read_image.__flightloop_tool__.spec  # type: ignore[attr-defined]
    assert spec.returns_untrusted
    assert not spec.permissions


async def test_the_tool_runs_in_its_sandbox(project: ToolContext) -> None:
    (project.data / "sales.png").write_bytes(bar_chart([(35, 81, 12, 57)], CITIES))
    async with ToolHosts(["tools.builtin"], ToolsConfig(spare=0), project.data) as hosts:
        outcome = await hosts.call("read_image", {"path": "sales.png"}, project)
    assert outcome.ok, outcome.error
    assert outcome.content["kind"] == "bar chart"
    assert [value[0] for value in outcome.content["series"][0]["values"]] == list(CITIES)
