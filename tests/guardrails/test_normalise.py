import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from flightloop.verdicts import Action, Stage
from guardrails.text.normalise import Visible, normalise, normalise_rail, visible
from guardrails.types import Checked, GuardContext

alphabet = st.text(st.sampled_from("aé ﬁ１\u200b\u200d\u202e\u2066\U000e0041\ufeff\x00\n\tک👩💻e\u0301"), max_size=30)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("i\u200bgn\u00adore", "ignore"),
        ("\u202eabc\u202c", "abc"),
        ("hi\U000e0068\U000e0069", "hi"),
        ("ｉｇｎｏｒｅ ﬁles", "ignore files"),
        ("sk-pr\u200doj", "sk-proj"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("a\tb\nc\x00d", "a\tb\ncd"),
    ],
)
def test_text_becomes_what_it_looks_like(text, clean):
    assert normalise(text) == clean


@pytest.mark.parametrize("text", ["5² + ½ H₂O", "你好，世界（测试）！", "№ 7 at 20 ℃", "naïve", "e\u0301"])
async def test_what_a_person_reads_is_kept(text):
    judged = await normalise_rail()(Checked(Stage.FINAL, text, GuardContext()))
    assert (judged.text, judged.verdicts[0].action) == (None, Action.ALLOW)


async def test_letters_in_disguise_are_written_plainly():
    judged = await normalise_rail()(Checked(Stage.INPUT, "ｉｇｎｏｒｅ ﬁles 𝐧𝐨𝐰 ４２", GuardContext()))
    assert judged.text == "ignore files now 42"


@given(alphabet)
def test_showing_twice_is_showing_once(text):
    assert visible(visible(text)) == visible(text)


@given(alphabet)
def test_twice_is_once(text):
    assert normalise(normalise(text)) == normalise(text)


@given(alphabet, st.integers(0, 30))
def test_pieces_are_stripped_like_the_whole(text, at):
    stream = Visible()
    assert stream.push(text[:at]) + stream.push(text[at:]) == visible(text)


async def test_the_rail_says_what_it_removed():
    rail = normalise_rail()
    hidden = await rail(Checked(Stage.INPUT, "a\u200bb", GuardContext()))
    assert (hidden.text, hidden.verdicts[0].labels) == ("ab", ["invisible"])
    plain = await rail(Checked(Stage.INPUT, "ab", GuardContext()))
    assert (plain.text, plain.verdicts[0].action) == (None, Action.ALLOW)


@pytest.mark.parametrize(
    "sign",
    ["\ufe0f", "\ufe00", "\u034f", "\u20e3", "\ufe0f\u20e3", "\u200d", "\ufffe", "\U0010ffff", "\ufffc"],
    ids=ascii,
)
def test_no_sign_that_is_not_seen_stands_behind_a_digit(sign):
    assert visible(f"+49{sign} 900{sign} 1234567{sign}") == "+49 900 1234567"
    assert visible(f"+49\xa0{sign}900–{sign}1。{sign}例{sign}.") == "+49\xa0900–1。例."


@pytest.mark.parametrize(
    "text", ["❤\ufe0f 👩\u200d💻 ❤\ufe0f\u200d🔥 👍🏽\u200d", "می\u200cخواهم", "क्\u200dष"], ids=ascii
)
def test_signs_that_belong_to_a_letter_or_emoji_stay(text):
    assert visible(text) == text


def test_no_sign_without_a_shape_stays_behind_ascii():
    """Unicode lists them as ``Default_Ignorable_Code_Point``."""
    ignored = regex.findall(r"\p{Default_Ignorable_Code_Point}", "".join(map(chr, range(0x110000))))
    assert visible("".join(f"1{sign}" for sign in ignored)) == "1" * len(ignored)
