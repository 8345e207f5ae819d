import pytest

from guardrails.finders.bare_hosts import HOSTS, as_url, host_of, names_in
from guardrails.finders.contacts import CONTACTS, plain_email
from guardrails.finders.pattern import Pattern, PatternFinder
from guardrails.rails.links import links_of
from guardrails.text.suffixes import Name, kind_of
from guardrails.types import GuardContext


@pytest.mark.parametrize(
    ("form", "host"),
    [
        ("evil.com/x", "evil.com"),
        ("EVIL.COM.", "evil.com"),
        ("//evil.com/x", "evil.com"),
        ("evil。com", "evil.com"),
        ("hxxp://evil[.]com", "evil.com"),
        ("evil&#46;com", "evil.com"),
        ("evil%2ecom", "evil.com"),
        ("_evil.com_", "evil.com"),
        ("ev\u200bil.com", "evil.com"),
        ("good.com:80@evil.com", "evil.com"),
        ("例子.中国", "xn--fsqu00a.xn--fiqs8s"),
        ("//0x7f.1/x", "127.0.0.1"),
        ("//2130706433", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("2001:db8:0:0::1", "2001:db8::1"),
        ("evil.com:8080/x", "evil.com"),
    ],
)
def test_a_form_is_read_as_clients_read_it(form: str, host: str) -> None:
    assert host_of(as_url(form)) == host


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("evil.com", Name.HOST),
        ("evil.co.uk", Name.HOST),
        ("a.example", Name.HOST),
        ("xn--fsqu00a.xn--fiqs8s", Name.HOST),
        ("order.id", Name.AMBIGUOUS),
        ("asyncio.run", Name.AMBIGUOUS),
        ("asp.net", Name.AMBIGUOUS),
        ("main.py", Name.FILE),
        ("node.js", Name.OTHER),
        ("mr.smith", Name.OTHER),
        ("com", Name.OTHER),
        ("a..com", Name.OTHER),
        ("self.my_list.add", Name.OTHER),
    ],
)
def test_the_last_label_tells_a_host(name: str, kind: Name) -> None:
    assert kind_of(name) is kind


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see evil.com/a, or not", ["evil.com/a"]),
        ("(evil.com)", ["evil.com"]),
        ("evil.com.Then", ["evil.com"]),
        ("order.id/x", ["order.id/x"]),
        ("main.py/x", ["main.py/x"]),
        ("docs/main.py/x", []),
        ("README.md#a", []),
        ("a.b@evil.com", []),
        ("1.2.3.4.5", []),
        ("version 1.2.3.4", []),
        ("版本1.2.3.4", []),
        ("the driver 192.0.2.77/setup", ["192.0.2.77/setup"]),
        ("release 192.0.2.77:8080", ["192.0.2.77:8080"]),
        ("visit 192.0.2.77- now", ["192.0.2.77-"]),
        ("192.0.2.77-beta", []),
        ("visit evil-shop.com- it is free", ["evil-shop.com-"]),
        ("Evil-Shop.De", ["Evil-Shop.De"]),
        ("EvilShop.De", ["EvilShop.De"]),
        ("Refund24.De", ["Refund24.De"]),
        ("It is ready.It ships.So wait.", []),
        ("请访问192.0.2.77/x", ["192.0.2.77/x"]),
        ("192.0.2.77您", ["192.0.2.77"]),
        ("✉️192.0.2.77/x", ["192.0.2.77/x"]),
        ("_192.0.2.77/x_", ["192.0.2.77/x"]),
        ("访问[2001:db8::77]:80您", ["[2001:db8::77]:80"]),
        ("访问2001:db8:1::77您", ["2001:db8:1::77"]),
        ("សូមចូល evil.comនៅ", ["evil.com"]),
        ("サーバーevil.comー", ["evil.com"]),
        ("ssh://evil.com, see", ["ssh://evil.com"]),
        ("(//evil.com)", ["//evil.com"]),
        ("打开https：//evil.com。", ["https：//evil.com"]),
        ("点击mailto:a@b.example?body=x", ["mailto:a@b.example?body=x"]),
        ("10.0.0.300", []),
        ("x[::2]", []),
        ("well.Then", []),
    ],
)
def test_a_host_is_a_whole_word(text: str, found: list[str]) -> None:
    assert [text[one.start : one.end] for one in HOSTS.find(text)] == found


@pytest.mark.parametrize("dot", [".", "\\.", "&#46;", "&period;", "&#x2e;", "[.]", "%2e", "。"])
def test_a_name_is_searched_once_and_not_from_each_label(dot: str) -> None:
    text = dot.join(["a"] * 100 + ["com"])
    assert [(one.start, one.end) for one in HOSTS.find(text)] == [(0, len(text))]


@pytest.mark.parametrize("text", ["a.io b.com/x //c.at ", "1.2.3.4 http:d.it [2001:db8::1]:80 order.id "])
@pytest.mark.parametrize("most", [0, 1, 5, 1000])
def test_the_first_findings_are_those_of_a_whole_search(text: str, most: int) -> None:
    assert HOSTS.first(text * 20, most, 10**6) == HOSTS.find(text * 20)[:most]


def test_a_bounded_search_reads_no_further() -> None:
    read: list[str] = []

    def refine(matched: str) -> list[tuple[int, int]]:
        read.append(matched)
        return [(0, 1)] if matched == "ab" else []

    finder = PatternFinder([Pattern("word", r"(?<!\w)\w+", refine)])
    assert len(finder.first("ab " * 1000, 3, 10**6)) == len(read) == 3
    read.clear()
    assert finder.first("xyz " * 1000, 3, 30) == []
    assert len(read) == 10


def test_links_of_a_long_result_are_the_first_ones() -> None:
    text = " ".join(f"a{n}.example" for n in range(3000))
    assert links_of(text, GuardContext()) == {f"a{n}.example" for n in range(1000)}


def test_names_that_a_user_wrote_include_ambiguous_ones() -> None:
    assert {"cafe.run", "evil.com", "10.0.0.7"} <= names_in("is cafe.run or evil.com on 10.0.0.7?")
    assert "mail.com" not in names_in("I am anna@mail.com")


@pytest.mark.parametrize("form", ["anna at shop dot com", "anna AT shop DOT com", "Anna At Shop Dot Com"])
def test_an_address_in_words_is_found_in_upper_and_lower_case(form: str) -> None:
    assert [form] == [form[one.start : one.end] for one in CONTACTS.find(form)]


def test_addresses_are_compared_as_they_are_read() -> None:
    forms = "Anna@Shop.com", "anna [at] shop [dot] com", "anna＠shop.com", "anna&#64;shop.com", "anna%40shop.com?body=x"
    for form in forms:
        (one, *_) = CONTACTS.find(form)
        assert plain_email(form[one.start : one.end]) == "anna@shop.com"
