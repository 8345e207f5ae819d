from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from agent.project.project import EMBEDDED
from tools.knowledge.documents import passages, translation_of
from tools.knowledge.library import Library
from tools.knowledge.words import terms

FEES = "# Fees\n\n## Late books\nA late book costs 0.20 EUR a day.\n\n## Cards\nA new card costs 3 EUR.\n"
CHINESE = "# 费用\n\n## 逾期\n逾期的书每天 0.20 EUR。\n\n## 借书证\n补办借书证 3 EUR。\n"
GERMAN = "# Gebühren\n\n## Verspätung\nEin Buch zu spät kostet 20 Cent.\n\n## Ausweis\nEin neuer kostet 3 EUR.\n"
ROOMS = "# Rooms\n\nA room can be booked for 2 hours. A card opens it.\n"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, text in {"fees": FEES, "fees.zh": CHINESE, "fees.de": GERMAN, "rooms": ROOMS}.items():
        (folder / f"{name}.md").write_text(text)
    return Library(tmp_path)


@pytest.mark.parametrize(
    ("query", "asked", "first"),
    [
        ("late books", "What does a late book cost?", "Late books: A late book"),
        ("late books", "书逾期了要付多少钱？", "逾期: 逾期的书每天"),  # the model searches in English
        ("逾期", "书逾期了要付多少钱？", "逾期: 逾期的书每天"),
        ("逾期", "", "逾期: 逾期的书每天"),
        ("", "借书证丢了怎么办？", "借书证: 补办借书证"),
        ("late books", "Was kostet ein Buch zu spät?", "Verspätung: Ein Buch"),
        ("Ausweis", "Was kostet ein neuer Ausweis?", "Ausweis: Ein neuer"),
        ("book a room", "可以预订房间吗？", "Rooms: A room"),  # nobody translated it
    ],
)
def test_who_asks_is_shown_passages_in_their_language(library: Library, query: str, asked: str, first: str) -> None:
    assert library.search(query, 3, asked)[0].text.startswith(first)


def test_a_passage_is_found_once(library: Library) -> None:
    assert len(library.current().papers.passages) == 3
    assert len(library.search("3 EUR", 3, "借书证 3 EUR")) == 2


def test_a_language_without_a_known_word_is_told_by_its_letters(library: Library) -> None:
    index = library.current().papers.index
    assert index.of("每书") is not index.original
    assert index.of("何もない") is index.original
    assert index.of("") is index.original


def test_a_translation_with_other_paragraphs_is_a_document_of_its_own(
    library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    (library.folder / "fees.zh.md").write_text(f"{CHINESE}\n## 复印\n每页 0.10 EUR。\n")
    with caplog.at_level(logging.WARNING):
        found = library.search("复印", 3)
    assert "复印: 每页 0.10 EUR。" in [one.text for one in found]
    assert "fees.zh.md has 3 passages, but fees.md has 2" in caplog.text


def test_a_translation_without_an_original_is_one(library: Library) -> None:
    (library.folder / "fees.md").unlink()
    assert library.search("逾期", 3)[0].text == "逾期: 逾期的书每天 0.20 EUR。"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("returns.zh", ("returns", "zh")),
        ("a.b.deu", ("a.b", "deu")),
        ("returns", ("returns", "")),
        ("v1.2", ("v1.2", "")),
        (".zh", (".zh", "")),
        ("notes.draft", ("notes.draft", "")),
    ],
)
def test_names_of_translations(name: str, parts: tuple[str, str]) -> None:
    assert translation_of(name) == parts


def test_neighbouring_characters_are_the_words_of_writing_without_blanks() -> None:
    assert terms("退货期限") == ["退货", "货期", "期限"]
    assert terms("用PayPal付 30 EUR") == ["用", "付", "paypal", "30", "eur"]
    assert terms("Größe") == ["größ"]
    assert terms("?!") == ["?"]


def test_the_shops_documents_say_the_same_in_chinese() -> None:
    originals = [path for path in sorted((EMBEDDED / "documents").glob("*.md")) if "." not in path.stem]
    assert originals
    for path in originals:
        chinese = passages("", path.with_suffix(".zh.md").read_text())
        for one, other in zip(passages("", path.read_text()), chinese, strict=True):
            figures, told = (set(re.findall(r"\d+(?:[.:]\d+)?", text)) for text in (one.text, other.text))
            assert figures <= told, other.shown
            addresses, given = (set(re.findall(r"\w+@shop\.example", text)) for text in (one.text, other.text))
            assert addresses == given, other.shown
