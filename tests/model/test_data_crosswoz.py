"""CrossWOZ: searches where the state asks for something new, and answers that tell what results hold."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from model.tuner.data.clean import fault
from model.tuner.data.convert import convert
from model.tuner.data.row import calls_of

DOMAINS = ("景点", "餐馆", "酒店", "地铁", "出租")
GARDEN = {
    "领域": "景点",
    "名称": "竹园",
    "地址": "竹街1号",
    "门票": 20,
    "评分": 4.5,
    "周边餐馆": ["面馆", "饺子馆", "茶馆", "粥铺"],
}


def state(domain: str = "", found: tuple[str, ...] = (), **slots: str) -> dict[str, Any]:
    empty = {each: {"selectedResults": []} for each in DOMAINS}
    return {**empty, domain: {**slots, "selectedResults": list(found)}} if domain else empty


def asks(text: str, *acts: tuple[str, str]) -> dict[str, Any]:
    return {"role": "usr", "content": text, "dialog_act": [[kind, domain, "", ""] for kind, domain in acts]}


def tells(text: str, before: dict[str, Any], *values: tuple[str, str, str], after: Any = None) -> dict[str, Any]:
    acts = [["Inform", domain, slot, value] for domain, slot, value in values]
    return {"role": "sys", "content": text, "dialog_act": acts, "sys_state_init": before, "sys_state": after or before}


def saved(folder: Path, *messages: dict[str, Any]) -> Path:
    data = folder / "data"
    (data / "database").mkdir(parents=True)
    for name in ("attraction", "restaurant", "hotel"):
        places = [["竹园", GARDEN]] if name == "attraction" else []
        (data / "database" / f"{name}_db.json").write_text(json.dumps(places), encoding="utf-8")
    with zipfile.ZipFile(data / "val.json.zip", "w") as archive:
        archive.writestr("val.json", json.dumps({"7": {"messages": messages}}))
    return folder


FIRST = (
    asks("评分4分以上的景点？", ("Inform", "景点")),
    tells("没有免费的，推荐竹园。", state("景点", (), 评分="4分以上", 门票="免费"), ("景点", "名称", "竹园"),
          after=state("景点", ("竹园",), 评分="4分以上")),
)  # fmt: skip
SECOND = (
    asks("地址呢？", ("Request", "景点")),
    tells("竹街1号。", state("景点", ("竹园",), 评分="4分以上"), ("景点", "地址", "竹街1号")),
)


def test_a_search_is_relaxed_and_a_question_about_its_result_needs_none(tmp_path: Path) -> None:
    [row] = convert("crosswoz", saved(tmp_path, *FIRST, *SECOND)).rows
    calls = [(name, arguments) for _, name, arguments in calls_of(row)]
    assert calls == [
        ("search_attractions", {"rating": "4分以上", "ticket": "免费"}),
        ("search_attractions", {"rating": "4分以上"}),
    ]
    results = [json.loads(message["content"]) for message in row["messages"] if message["role"] == "tool"]
    assert results == [
        [],
        [{**{k: v for k, v in GARDEN.items() if k != "领域"}, "周边餐馆": ["面馆", "饺子馆", "茶馆"]}],
    ]
    assert row["messages"][-1] == {"role": "assistant", "content": "竹街1号。"}
    assert "search_attractions" in {each["function"]["name"] for each in row["tools"]}
    assert fault(row) is None


def test_a_row_ends_before_an_answer_that_no_result_holds(tmp_path: Path) -> None:
    invented = tells("电话是12345678。", state("景点", ("竹园",), 评分="4分以上"), ("景点", "电话", "12345678"))
    [row] = convert("crosswoz", saved(tmp_path, *FIRST, asks("电话？", ("Request", "景点")), invented)).rows
    assert row["messages"][-1]["content"] == "没有免费的，推荐竹园。"


def test_a_taxi_has_a_car_and_a_plate(tmp_path: Path) -> None:
    ride = state("出租", ("出租",), 出发地="竹园", 目的地="面馆")
    told = tells("车型：#CX；车牌：#CP。", ride, ("出租", "车型", "#CX"), ("出租", "车牌", "#CP"))
    [row] = convert("crosswoz", saved(tmp_path, asks("叫车", ("Request", "出租")), told)).rows
    [call] = calls_of(row)
    assert call[1:] == ("call_taxi", {"origin": "竹园", "destination": "面馆"})
    car = json.loads(row["messages"][-2]["content"])
    assert row["messages"][-1]["content"] == f"车型：{car['车型']}；车牌：{car['车牌']}。"
    assert "#" not in row["messages"][-1]["content"]


def test_a_row_is_cut_to_the_turns_that_fit(tmp_path: Path) -> None:
    folder = saved(tmp_path, *FIRST, *SECOND)
    whole = len(convert("crosswoz", folder).rows[0]["messages"])
    [row] = convert("crosswoz", folder, fits=lambda row: len(row["messages"]) < whole).rows
    assert len(row["messages"]) == whole - 2
