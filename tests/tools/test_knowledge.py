from __future__ import annotations

import json
import string
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.support.shop.database import FILE
from examples.support.shop.seed import reseed
from tests.shop import SHOP
from tools.knowledge.builder import build, clauses
from tools.knowledge.catalogue import Catalogue, Product
from tools.knowledge.documents import Passage
from tools.knowledge.graph import Kind, KnowledgeGraph, Node, Relation
from tools.knowledge.index import PassageIndex, Translations
from tools.knowledge.library import Knowledge, Library, Papers
from tools.knowledge.names import Names
from tools.knowledge.picture import dot, svg
from tools.knowledge.quantities import DAY, MONTH, Measure, quantities
from tools.knowledge.search import Search
from tools.knowledge.statements import Reader
from tools.knowledge.words import words

QUESTIONS = Path(__file__).parent / "data" / "questions.jsonl"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    reseed(folder / FILE)
    return folder


@pytest.fixture(scope="module")
def library(data: Path) -> Library:
    return Library(data, SHOP)


@pytest.fixture(scope="module")
def graph(library: Library) -> KnowledgeGraph:
    return library.current().graph


def named(graph: KnowledgeGraph, name: str) -> Node:
    return next(node for node in graph.nodes() if node.name == name)


# quantities


@pytest.mark.parametrize(
    ("text", "measure", "values"),
    [
        ("39.90 EUR", Measure.MONEY, (39.9,)),
        ("€1,299.50", Measure.MONEY, (1299.5,)),
        ("12,5 euros", Measure.MONEY, (12.5,)),
        ("two years", Measure.TIME, (24 * MONTH,)),
        ("a 24-month warranty", Measure.TIME, (24 * MONTH,)),
        ("5 to 7 working days", Measure.TIME, (5 * DAY, 7 * DAY)),
        ("3-5 days", Measure.TIME, (3 * DAY, 5 * DAY)),
        ("48 hours", Measure.TIME, (2 * DAY,)),
        ("14:00", Measure.CLOCK, (840,)),
        ("2 pm", Measure.CLOCK, (840,)),
        ("15 % off", Measure.SHARE, (15,)),
        ("100 points", Measure.POINTS, (100,)),
        ("46 pairs of shoes in stock", Measure.STOCK, (46,)),
        ("The stock is 7.", Measure.STOCK, (7,)),
    ],
)
def test_numbers_with_units_are_read(text: str, measure: Measure, values: tuple[float, ...]) -> None:
    (found,) = quantities(text)
    assert (found.measure, found.values) == (measure, values)


@pytest.mark.parametrize("text", ["order 10042", "A-30 days", "v1.2", "2026-03-01", "call +49 30 5550100", "25:70", ""])
def test_other_numbers_are_not(text: str) -> None:
    assert quantities(text) == []


def test_a_sentence_with_several_amounts_has_a_clause_for_each() -> None:
    sentence = "Coffee machines and mixers have 36 months, pans and knives 60 months."
    parts = clauses(sentence)
    assert [text for _, text in parts] == ["Coffee machines and mixers have 36 months", "pans and knives 60 months."]
    assert all(sentence[start:].startswith(text) for start, text in parts)


# the graph


def test_things_of_the_shop_belong_together(graph: KnowledgeGraph) -> None:
    knife = named(graph, "Chef's Knife")
    (rule,) = graph.before(knife, Relation.COVERS)
    assert "pans and knives 60 months" in rule.text
    assert [node.name for node in graph.after(knife, Relation.COSTS, Relation.IS_OF)] == ["kitchen", "64.90 EUR"]
    methods = graph.before(named(graph, "invoice"), Relation.NAMES)
    assert any(rule.source == "Payment, Payment methods" for rule in methods)
    assert graph.after(named(graph, "Clearance Rug"), Relation.IS)[0].name == "final sale"
    assert {"Norway", "Switzerland", "European Union", "BlueVan"} <= {node.name for node in graph.nodes(Kind.TERM)}


def test_bold_words_are_terms() -> None:
    graph = build(
        Catalogue(), [Passage("Fees", "Trees", "A **sapling fee** is due."), Passage("A", "B", "No sapling fee.")]
    )
    assert [rule.source for rule in graph.before(named(graph, "sapling fee"), Relation.NAMES)] == [
        "Fees, Trees",
        "A, B",
    ]


def test_an_edge_to_nothing_is_refused() -> None:
    graph = KnowledgeGraph()
    here = graph.add(Node("a", Kind.TERM, "a", "here"))
    with pytest.raises(KeyError, match="must be added before"):
        graph.link(here, Relation.NAMES, Node("b", Kind.TERM, "b", "nowhere"))


WORDS = st.sampled_from(
    ["lamp", "kettle", "red", "Rug", "**vase**", "returns", "home", "outdoor", "fee", "30 days", "5 EUR", "10 percent"]
) | st.sampled_from(["Norway", "and", "and,", "the", "in"])
TEXTS = st.lists(WORDS, min_size=1, max_size=14).map(lambda words: " ".join(words) + ".")
PASSAGES = st.builds(Passage, st.sampled_from(["Returns", "Fees"]), st.sampled_from(["Trees", "Lamps"]), TEXTS)
NAME = st.sampled_from(["Desk", "Lamp", "Red", "Kettle", "Rug", "30L", "Vase"])
NAMES = st.lists(NAME, min_size=1, max_size=3, unique=True).map(" ".join)
PRODUCTS = st.lists(
    st.builds(
        Product,
        st.integers(100, 110),
        NAMES,
        st.sampled_from(["home", "outdoor"]),
        st.integers(1, 99_999),
        st.integers(0, 200),
        st.sampled_from([0, 12, 24]),
        st.booleans(),
    ),
    max_size=6,
    unique_by=lambda product: product.id,
)


@given(PRODUCTS, st.lists(PASSAGES, max_size=6))
@settings(deadline=None)
def test_no_edge_dangles_and_the_same_input_gives_the_same_graph(products: list[Product], found: list[Passage]) -> None:
    catalogue = Catalogue(products, [("carrier", "Norway")])
    graph = build(catalogue, found)
    graph.check_integrity()
    again = build(catalogue, found)
    assert graph == again
    assert [graph.nodes(), list(graph.edges())] == [again.nodes(), list(again.edges())]
    assert len(graph.nodes(Kind.PRODUCT)) == len(products)
    assert len(graph.nodes(Kind.SECTION)) == len(found)
    for node in graph.nodes(Kind.PRODUCT):
        part = graph.around([node], 2)
        part.check_integrity()
        assert set(part.nodes()) <= set(graph.nodes())


@given(PRODUCTS, st.lists(PASSAGES, max_size=4), st.lists(st.integers(0, 99_999), min_size=12, max_size=12), TEXTS)
@settings(deadline=None)
def test_knowledge_after_new_prices_is_as_if_it_were_built_anew(
    products: list[Product], found: list[Passage], numbers: list[int], said: str
) -> None:
    knowledge = Knowledge(Catalogue(products), Papers(found))
    for shift in (0, 3):
        sold = Catalogue(
            [
                replace(product, price_cents=numbers[place + shift], stock=numbers[place + shift + 1])
                for place, product in enumerate(products)
            ]
        )
        knowledge = knowledge.followed_by(sold)
        anew = Knowledge(sold, Papers(found))
        assert knowledge.graph.nodes() == anew.graph.nodes()
        assert list(knowledge.graph.edges()) == list(anew.graph.edges())
        assert knowledge.names.find(said) == anew.names.find(said)
        stated = f"{said} It costs 5 EUR."
        assert knowledge.reader.read(stated, said) == anew.reader.read(stated, said)
        assert knowledge.search.find(said, 3) == anew.search.find(said, 3)


def test_a_picture_has_every_node(graph: KnowledgeGraph) -> None:
    part = graph.around([named(graph, "Chef's Knife")], 2)
    drawn = ElementTree.fromstring(svg(part))
    assert len(drawn.findall("{http://www.w3.org/2000/svg}circle")) == len(part)
    assert dot(part).count("->") == sum(1 for _ in part.edges())
    assert svg(KnowledgeGraph()).startswith("<svg")


# names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("the blue kettle", ["Pour-Over Kettle"]),
        ("Knives and two PANS", ["Chef's Knife", "Cast Iron Pan"]),
        ("a rain jacket, a raincoat", ["Rain Jacket", "Clearance Raincoat"]),
        ("my sleeping bag", ["Down Sleeping Bag"]),
        ("the puzzle", ["Puzzle 1000 Pieces"]),
        ("post-office boxes around the clock", []),
    ],
)
def test_products_are_found_by_their_names(graph: KnowledgeGraph, text: str, names: list[str]) -> None:
    assert [node.name for node in Names(graph).nodes(text, Kind.PRODUCT)] == names


# search


@pytest.fixture(scope="module")
def plain(library: Library) -> Search:
    """Without the graph."""
    nothing = KnowledgeGraph()
    return Search(nothing, library.current().papers.index, Names(nothing))


def test_products_and_what_hangs_on_them_are_found(library: Library, plain: Search) -> None:
    cases = [json.loads(line) for line in QUESTIONS.read_text().splitlines()]
    hits, before = Counter[str](), Counter[str]()
    for case in cases:
        found = library.search(case["asked"], 3)
        assert len(found) <= 3
        hits[case["kind"]] += any(case["found"] in one.text for one in found)
        before[case["kind"]] += any(case["found"] in one.text for one in plain.find(case["asked"], 3))
    assert len(cases) == 55
    assert before == {"price": 0, "stock": 0, "warranty": 4, "linked": 10, "policy": 13}
    assert hits == {"price": 10, "stock": 8, "warranty": 10, "linked": 13, "policy": 13}


def test_results_say_where_they_come_from(library: Library) -> None:
    lamp, *rules = library.search("warranty on the desk lamp", 3)
    assert (lamp.source, lamp.text) == (
        "products 121",
        "Desk Lamp: 39.90 EUR, 56 in stock, warranty 24 months, category home",
    )
    assert {rule.source for rule in rules} == {"Warranty"}


def test_an_ordinary_word_is_a_product_where_its_price_is_asked(library: Library) -> None:
    assert library.search("price of the clock", 3)[0].source == "products 122"
    assert library.search("chat around the clock", 3)[0].source == "Contact"


def test_without_a_product_passages_come_as_they_are_ranked(library: Library, plain: Search) -> None:
    for query in ("return window days", "how long a refund takes", "lost gift card", "shipping costs"):
        assert library.search(query, 3) == plain.find(query, 3)


def test_a_category_is_told_where_there_is_room(library: Library) -> None:
    *_, goods = library.search("kitchen products", 3)
    assert goods.text.startswith("kitchen: Espresso Machine 249.00 EUR, ")
    assert library.search("kitchen products", 1)[0].source == "Returns"


@pytest.mark.parametrize(
    ("query", "asked", "first"),
    [
        ("tag today", "Word has it the bread tin got dearer. Its tag today?", "Bread Tin"),
        ("zzz", "Do you ship to Norway?", "Norway"),
        ("desk lamp", "How about the scented candle?", "Desk Lamp"),
        ("shipping to Norway", "Hello!", "Norway"),
    ],
)
def test_the_question_is_searched_if_a_query_finds_nothing(
    library: Library, query: str, asked: str, first: str
) -> None:
    assert first in library.search(query, 3, asked)[0].text


@pytest.mark.parametrize(
    ("query", "asked", "first"),
    [
        ("order the same again", "What does it cost to send something back?", "How to send something back"),
        ("failed payments", "Can I pay with PayPal?", "Payment methods"),
        ("gift card validity", "Ok, thanks. And what about gift cards, how long are they good for?", "Validity"),
        ("return window", "yes", "Return window"),
        ("student discount", "学生有折扣吗？", "学生折扣"),
    ],
)
def test_a_query_and_the_question_behind_it_rank_passages_together(
    library: Library, query: str, asked: str, first: str
) -> None:
    assert library.search(query, 3, asked)[0].text.startswith(f"{first}: ")


def test_a_long_question_does_not_outweigh_the_query(library: Library) -> None:
    asked = (
        "Where is my order? It was a present, and the last one came late, in a wet carton. Which carriers are there?"
    )
    assert any("Northpost" in one.text for one in library.search("carriers", 3, asked))


def test_the_best_passage_of_the_query_is_always_found(library: Library) -> None:
    asked = (
        "If I try the jacket on and it does not fit me after all, can I exchange it, and how long do I have for that?"
    )
    found = library.search("return window", 3, asked)
    assert any(one.text.startswith("Return window: ") for one in found)
    assert len(found) == 3


def test_a_query_and_a_question_that_name_nothing_find_nothing(library: Library) -> None:
    assert library.search("zzz", 3, "qqq") == []


def test_a_long_category_is_cut() -> None:
    goods = [
        Product(number, f"Vase {letter}", "home", 500, 1, 0, False) for number, letter in enumerate("ABCDEFGHIJKL")
    ]
    graph = build(Catalogue(goods), [])
    assert (
        Search(graph, Translations(PassageIndex([Passage("a", "b", "c")])), Names(graph))
        .find("home", 3)[0]
        .text.endswith("Vase J 5.00 EUR, 2 more")
    )


# statements


def judged(library: Library, said: str, asked: str = "") -> list[tuple[str, bool]]:
    return [(said[one.start : one.end], one.right) for one in library.statements(said, asked)]


@pytest.mark.parametrize(
    ("said", "asked", "expected"),
    [
        ("The Desk Lamp costs 39.90 EUR, the Wall Clock 27.90 EUR.", "", [("39.90 EUR", True), ("27.90 EUR", True)]),
        ("The Desk Lamp costs 27.90 EUR, the Wall Clock 39.90 EUR.", "", [("27.90 EUR", False), ("39.90 EUR", False)]),
        ("Lamp and wall clock are 39.90 EUR and 27.90 EUR.", "", [("39.90 EUR", True), ("27.90 EUR", True)]),
        ("It is 39.90 EUR for the lamp, 27.90 EUR for the wall clock.", "", [("39.90 EUR", True), ("27.90 EUR", True)]),
        ("It costs 59.90 EUR.", "And the kettle?", [("59.90 EUR", True)]),
        ("It does not cost 49.90 EUR.", "And the kettle?", []),
        ("We have 80 of the Puzzle 1000 Pieces in stock.", "", [("80", True), ("Puzzle 1000 Pieces", True)]),
        ("Your order with the Desk Lamp has a total of 79.80 EUR.", "", []),
        ("On Saturday we answer from 8:00 to 18:00.", "", [("8:00", False), ("18:00", False)]),
        ("Yes, 60 days.", "Can I return items within 60 days after delivery?", [("60 days", False)]),
        ("Bees live for 40 days.", "", []),
    ],
)
def test_numbers_are_held_against_what_they_are_stated_of(
    library: Library, said: str, asked: str, expected: list[tuple[str, bool]]
) -> None:
    assert sorted(judged(library, said, asked)) == sorted(expected)


def test_a_doubled_letter_before_an_ending_is_single() -> None:
    assert words("ship shipped shipping ships") == ["ship"] * 4
    assert words("planning planned") == ["plan"] * 2
    assert words("pressed selling buzzing") == ["press", "sell", "buzz"]


@given(st.integers(1, 99_999), st.integers(1, 99_999), st.text(string.ascii_letters, min_size=3, max_size=8))
@settings(deadline=None)
def test_a_price_is_right_exactly_if_it_is_the_products(price: int, said: int, word: str) -> None:
    product = Product(1, f"{word.title()} Vase", "home", price, 5, 0, False)
    graph = build(Catalogue([product]), [])
    (found,) = Reader(graph, Names(graph)).read(f"The {product.name} costs {said / 100:.2f} EUR.")
    assert (found.right, found.strict) == (price == said, price != said)


def test_a_product_without_a_warranty_is_told_so(library: Library) -> None:
    (stated,) = library.statements("The warranty of the Scented Candle is 24 months.", "")
    assert (stated.right, stated.fact) == (False, "Scented Candle has no warranty (products 125)")
