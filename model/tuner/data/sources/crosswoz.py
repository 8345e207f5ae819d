"""CrossWOZ: Chinese conversations about attractions, restaurants, hotels, taxis and the underground of Beijing.

Source: Zhu et al., "CrossWOZ: A Large-Scale Chinese Cross-Domain Task-Oriented Dialogue Dataset" (2020). Files:
``val.json.zip`` with ``val.json``, and ``database/DOMAIN_db.json``. A search is made where the recorded state asks for
something new; questions about a place that was found are answered without one. An answer that tells what no result
holds ends the row before it, and so does one that would make the row too long.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.tuner.data.row import Bad, Message, Row, called, result, row, said, tool
from model.tuner.data.sources.plan import Plan, Source, beside

SEARCHES: Mapping[str, tuple[str, str]] = {
    "景点": ("search_attractions", "搜索北京的景点"),
    "餐馆": ("search_restaurants", "搜索北京的餐馆"),
    "酒店": ("search_hotels", "搜索北京的酒店"),
}
RIDES: Mapping[str, tuple[str, str]] = {
    "出租": ("call_taxi", "叫一辆出租车，返回车型和车牌"),
    "地铁": ("find_subway", "查询出发地和目的地附近的地铁站"),
}
_PLACES: Mapping[str, tuple[str, str]] = {
    "名称": ("name", "名称"),
    "评分": ("rating", "评分，如 4.5分以上"),
    "周边景点": ("near_attraction", "附近的景点名称"),
    "周边餐馆": ("near_restaurant", "附近的餐馆名称"),
    "周边酒店": ("near_hotel", "附近的酒店名称"),
}
SLOTS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "景点": {
        **_PLACES,
        "门票": ("ticket", "门票价格，如 免费、20-50元"),
        "游玩时间": ("duration", "游玩时间，如 1小时 - 2小时"),
    },
    "餐馆": {**_PLACES, "推荐菜": ("dish", "想吃的菜，多个用空格分开"), "人均消费": ("cost", "人均消费，如 50-100元")},
    "酒店": {
        **_PLACES,
        "酒店类型": ("type", "酒店类型，如 经济型、高档型"),
        "酒店设施": ("facilities", "需要的设施，多个用空格分开"),
        "价格": ("price", "每晚价格，如 300-400元"),
    },
    "出租": {"出发地": ("origin", "出发地"), "目的地": ("destination", "目的地")},
    "地铁": {"出发地": ("origin", "出发地"), "目的地": ("destination", "目的地")},
}
"""By domain: each slot's parameter and its description."""
TOOLS = {
    domain: tool(name, about, {each: {"type": "string", "description": of} for each, of in SLOTS[domain].values()})
    for domain, (name, about) in {**SEARCHES, **RIDES}.items()
}
SYSTEM = "你是北京旅行助手。用工具查询，再根据查到的结果回答。"
MOST_FOUND, MOST_LISTED = 3, 3
"""Most places of a result, and most entries of a list in it."""
LETTERS, CARS = "ABCDEFGHJKLMNPQRSTUVWXYZ", ("白色捷达", "黑色帕萨特", "蓝色现代", "红色卡罗拉", "灰色凯美瑞")

_AMOUNT = re.compile(r"\D?(\d+(?:\.\d+)?)(?:元|分|元/人|元每人)?")
"""An amount as answers tell it; results hold its number alone."""

Places = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By domain and name: what the database holds of a place."""


def rows(folder: Path, plan: Plan) -> Iterator[Row | Bad]:
    [archive] = folder.rglob("val.json.zip")
    places = {domain: _places(archive.parent / "database" / f"{file}_db.json") for domain, file in _FILES.items()}
    with zipfile.ZipFile(archive) as opened:
        dialogues = json.loads(opened.read("val.json"))
    for number, dialogue in dialogues.items():
        yield _row(dialogue["messages"], places, plan, f"dialogue {number}")


_FILES = {"景点": "attraction", "餐馆": "restaurant", "酒店": "hotel"}


def _row(messages: Sequence[Any], places: Places, plan: Plan, place: str) -> Row | Bad:
    draw = plan.draw(f"crosswoz:{place}")
    talk = _Talk(places, draw.choice(CARS), f"京{draw.choice(LETTERS)}{draw.randrange(10_000, 100_000)}")
    made: list[Message] = []
    best: Row | None = None
    for asked, told in zip(messages[::2], messages[1::2], strict=False):
        turn = talk.turn(asked, told)
        if turn is None:
            break
        made += turn
        needed = [TOOLS[domain] for domain in talk.used] or [TOOLS["景点"]]
        whole = row("crosswoz", [said("system", SYSTEM), *made], beside(needed, list(TOOLS.values()), 2, draw))
        if not plan.fits(whole):
            break
        best = whole
    if best is None or not talk.used:
        return Bad(place, "no turn with a search whose results the answer tells, or all are too long")
    return best


@dataclass
class _Talk:
    """A conversation so far. ``used``: domains of the calls, ``known``: all that results have told."""

    places: Places
    car: str
    plate: str
    used: list[str] = field(default_factory=list)
    known: str = ""
    calls: int = 0
    last: dict[str, dict[str, str]] = field(default_factory=dict)

    def turn(self, asked: Any, told: Any) -> list[Message] | None:
        """The messages of a turn; None if the answer tells what no result holds."""
        made = [said("user", asked["content"])]
        wanted = {act[1] for act in asked["dialog_act"] if act[0] in ("Inform", "Request")}
        for domain in (each for each in SLOTS if each in wanted):
            first, last = (told[name][domain] for name in ("sys_state_init", "sys_state"))
            for state in (last,) if _slots(first) == _slots(last) else (first, last):
                made += self._call(domain, state, told["dialog_act"])
        tells = [act[3] for act in told["dialog_act"] if act[0] in ("Inform", "Recommend")]
        if not all(self._is_known(self._filled(value)) for value in tells):
            return None
        return [*made, said("assistant", self._filled(told["content"]))]

    def _call(self, domain: str, state: Mapping[str, Any], acts: Sequence[Sequence[str]]) -> list[Message]:
        given = {slot: value for slot, value in _slots(state).items() if slot in SLOTS[domain]}
        named = given.get("名称")
        if not given or given == self.last.get(domain) or (named and named in self.known):
            return []
        found = self._found(domain, state, acts)
        if found is None:
            return []
        self.last[domain] = given
        if domain not in self.used:
            self.used.append(domain)
        self.known += json.dumps(found, ensure_ascii=False)
        self.calls += 1
        arguments = {SLOTS[domain][slot][0]: value for slot, value in given.items()}
        name = TOOLS[domain]["function"]["name"]
        return [called([(name, arguments)], self.calls), result(self.calls, found)]

    def _found(self, domain: str, state: Mapping[str, Any], acts: Sequence[Sequence[str]]) -> Any:
        """The result of a call; None if the set doesn't have it."""
        if domain in RIDES:
            told = {act[2]: self._filled(act[3]) for act in acts if act[0] == "Inform" and act[1] == domain}
            return told or None
        said_of = {act[3] for act in acts}
        names = [name for name in state["selectedResults"] if name in self.places[domain]]
        names.sort(key=lambda name: name not in said_of)  # the places that the answer is about come first
        return [_shown(self.places[domain][name], said_of) for name in names[:MOST_FOUND]]

    def _filled(self, text: str) -> str:
        return text.replace("#CX", self.car).replace("#CP", self.plate)

    def _is_known(self, value: str) -> bool:
        if value in self.known:
            return True
        number = _AMOUNT.fullmatch(value)
        return number is not None and bool(re.search(rf"(?<![\d.]){re.escape(number[1])}(?![\d.])", self.known))


def _slots(state: Mapping[str, Any]) -> dict[str, str]:
    return {slot: value for slot, value in state.items() if slot != "selectedResults" and value}


def _shown(place: Mapping[str, Any], said_of: set[str]) -> dict[str, Any]:
    """What is told of a place: of lists their first entries, and those that the answer names."""
    shown = {}
    for name, value in place.items():
        if value is None or name == "领域":
            continue
        if isinstance(value, list):
            named = [each for each in value if each in said_of]
            value = [*named, *(each for each in value if each not in named)][: max(MOST_LISTED, len(named))]
        shown[name] = value
    return shown


def _places(path: Path) -> dict[str, Mapping[str, Any]]:
    return {name: place for name, place in json.loads(path.read_text(encoding="utf-8"))}


SOURCE = Source(("val",), rows)
