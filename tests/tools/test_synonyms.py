from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.project.project import EMBEDDED
from agent.project.project_file import read_project_file
from examples.support.shop.database import FILE
from examples.support.shop.names import PRODUCTS
from examples.support.shop.seed import reseed
from flightloop.errors import ConfigError
from tools.knowledge.graph import Kind
from tools.knowledge.library import Library
from tools.knowledge.names import Mention, blanked


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("shop")
    reseed(folder / FILE)
    synonyms = (("Wool Socks", ("羊毛袜", "woollen stockings", "毛袜 L码")), ("Floor Mirror", ("looking glass",)))
    return Library(folder, replace(read_project_file(EMBEDDED).data(EMBEDDED), synonyms=synonyms))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("你们的羊毛袜多少钱？", ["Wool Socks"]),
        ("毛袜 l码", ["Wool Socks"]),
        ("Do you have woollen stockings or a looking glass?", ["Wool Socks", "Floor Mirror"]),
        ("羊毛袜 and the desk lamp, then 羊毛袜", ["Wool Socks", "Desk Lamp"]),
        ("a glass", []),
        ("毛袜", []),
    ],
)
def test_products_are_found_by_their_synonyms(library: Library, text: str, names: list[str]) -> None:
    assert [node.name for node in library.current().names.nodes(text, Kind.PRODUCT)] == names


def test_mentions_come_in_text_order_and_only_of_the_wanted_kinds(library: Library) -> None:
    names, text = library.current().names, "Desk lamp 羊毛袜 desk lamp"
    assert [text[one.start : one.end] for one in names.find(text)] == ["Desk lamp", "羊毛袜", "desk lamp"]
    assert [one.nodes for one in names.find(text, Kind.DOCUMENT)] == []
    assert blanked("ab cd", [Mention(0, 2, ()), Mention(3, 4, ())]) == "    d"


def test_a_question_about_a_price_finds_the_product_alone(library: Library) -> None:
    assert [one.source for one in library.search("羊毛袜价格", 3, "羊毛袜多少钱一双？")] == ["products 109"]


def test_passages_beside_it_are_in_the_question_s_language(library: Library) -> None:
    product, *passages = library.search("羊毛袜 退货", 3, "羊毛袜可以退吗？")
    assert product.source == "products 109"
    assert {one.source for one in passages} == {"退货"}


def test_answers_are_held_against_the_product_that_a_synonym_names(library: Library) -> None:
    wrong, right = library.statements("羊毛袜的价格是 19.90 EUR。woollen stockings cost 12.90 EUR.")
    assert (wrong.right, wrong.fact) == (False, "Wool Socks costs 12.90 EUR (products 109)")
    assert right.right


def test_every_product_of_the_shop_has_a_chinese_name() -> None:
    synonyms = dict(read_project_file(EMBEDDED).data(EMBEDDED).synonyms)
    assert set(synonyms) == {name for name, *_ in PRODUCTS}


def test_synonyms_of_no_products_are_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "project.yaml").write_text("synonyms: {Moby-Dick: [the white whale]}\n")
    with pytest.raises(ConfigError, match='"synonyms" requires "products"'):
        read_project_file(tmp_path)


@pytest.mark.parametrize(
    ("query", "asked", "first"),
    [
        ("double person backpack price", "羊毛袜多少钱？", "Wool Socks"),  # the model's query is about another product
        ("desk lamp price", "And the woollen stockings?", "Desk Lamp"),  # named by its very name
        ("price in stock", "你们的羊毛袜有货吗？", "Wool Socks"),
        ("wool socks price", "What does it cost?", "Wool Socks"),
    ],
)
def test_the_product_of_the_message_comes_before_what_a_query_only_resembles(
    library: Library, query: str, asked: str, first: str
) -> None:
    found = library.search(query, 3, asked)
    assert found[0].text.startswith(f"{first}: ")


def test_a_query_about_rules_finds_them_whatever_product_the_message_names(library: Library) -> None:
    found = library.search("return window", 3, "How long may I return the woollen stockings?")
    assert not found[0].source.startswith("products")
