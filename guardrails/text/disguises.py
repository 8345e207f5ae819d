"""Ways to write words so that a model still reads them and a pattern does not: look-alikes, codes, broken words.

All work is linear in the length of the text.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import unicodedata
from collections.abc import Callable, Iterator
from html import unescape
from urllib.parse import unquote

import regex

_READABLE = 0.95
"""Share of printable characters from which decoded bytes are text."""
_LOOKALIKES = dict(
    zip(
        "аеорсухіјѕԁһӏвкмнтгпиԛԝ" "АВЕКМНОРСТХІЈЅУ" "ɡɑοαερτυικνηωχβ" "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ"
        "եցհօսʋ" "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ" "’‘“”",
        "aeopcyxijsdhlbkmhtrnuqw" "ABEKMHOPCTXIJSY" "gaoaeptuikvnwxb" "ABEZHIKMNOPTYX"
        "eghouv" "abcdefghijklmnoprstuvwyz" "''\"\"",
        strict=True,
    )
)  # fmt: skip
"""Letters of other alphabets that look like Latin ones (Unicode TR 39 lists them all), small capitals, and quotes."""
for _first in (0x1F130, 0x1F150, 0x1F170, 0x1F1E6):  # letters in squares and circles, and those of flags
    _LOOKALIKES |= {chr(_first + place): chr(ord("a") + place) for place in range(26)}
for _sign in map(chr, range(0xC0, 0x250)):  # letters with marks
    if (_base := unicodedata.normalize("NFD", _sign)[0]).isascii():
        _LOOKALIKES[_sign] = _base
_TABLE = str.maketrans(_LOOKALIKES)
_TURNED = str.maketrans("ɐqɔpǝɟƃɥıɾʞlɯuodbɹsʇnʌʍxʎz", "abcdefghijklmnopqrstuvwxyz")
_IS_TURNED = regex.compile("[ɐɔǝɟƃɥıɾʞɯɹʇʌʍʎ]")
_TAGS = regex.compile("[\U000e0020-\U000e007e]{4,}+")
_SELECTORS = regex.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}+")
_MARKS = regex.compile(r"(?<=[A-Za-z\s])[\u0300-\u036f\u0489\u20d0-\u20ff]+")
_MARKUP = regex.compile(r"<!--[^<>]{0,200}-->|</?[A-Za-z][^<>]{0,200}>|[*~`|]++|(?<=[^\W_])_++(?=[^\W_])")
_BASE64 = regex.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{16,}+(?:\r?\n[A-Za-z0-9+/_-]{4,}+)*+={0,2}")
_BASE32 = regex.compile(r"(?<![\w=])[A-Z2-7]{24,}+={0,6}")
_HEX = regex.compile(r"(?<![\da-z])(?:(?:0x|\\x|=)?[\da-f]{2}[\s,:;]{0,2}){8,}+", regex.IGNORECASE)
_HEX_SIGNS = regex.compile(r"0x|\\x|[^\da-f]", regex.IGNORECASE)
_BINARY = regex.compile(r"(?<!\d)(?:[01]{8}[\s,]{0,2}){6,}+")
_CODES = regex.compile(r"(?<!\d)(?:\d{2,3}[\s,;]{1,2}){8,}+(?:\d{2,3}(?!\d))?")
_MORSE = regex.compile(r"(?<![.\w-])(?:[.·−–-]{1,5}(?:\s{1,3}(?:/\s?)?|/\s?)){10,}+[.·−–-]{0,5}")
_MORSE_SIGNS = {
    ".-": "a", "-...": "b", "-.-.": "c", "-..": "d", ".": "e", "..-.": "f", "--.": "g", "....": "h", "..": "i",
    ".---": "j", "-.-": "k", ".-..": "l", "--": "m", "-.": "n", "---": "o", ".--.": "p", "--.-": "q", ".-.": "r",
    "...": "s", "-": "t", "..-": "u", "...-": "v", ".--": "w", "-..-": "x", "-.--": "y", "--..": "z",
}  # fmt: skip
_LEET_WORD = regex.compile(r"(?<![\w@$!|+])[A-Za-z\d@$!|+]{3,40}+(?![\w@$])")
_PUNCTUATED = regex.compile(r"(?<!\w)(?:[^\W_]{1,30}+ ?[-_.*~|/\\+=:,]++ ?[-_.*~|/\\+=:,]*+){3,}[^\W_]{1,30}")
_PUNCTUATION = regex.compile(r"[^\w]|_")
_LEET = str.maketrans("0134578@$!|+", "oieastbasiit")


def plain_letters(text: str) -> str:
    """The text with Latin letters for those that look like them or have marks."""
    return text if text.isascii() else text.translate(_TABLE)


def without_marks(text: str) -> str:
    """The text without combining marks after ASCII letters and blanks. To call before a normal form moves them."""
    return text if text.isascii() else _MARKS.sub("", text)


def hidden_texts(text: str) -> Iterator[str]:
    """Other readings of a text: what is left if references, markup and codes in it are decoded. Possibly none.

    Transformations that turn any text into another one (reversed, rotated by 13 letters, digits for letters) are the
    caller's to judge: see `rewritings`.
    """
    peeled = _peeled(text)
    if peeled != text:
        yield peeled
    for inner in _decoded(peeled):
        yield inner
        again = _peeled(inner)  # a code within a code
        if again != inner:
            yield again
        yield from _decoded(again)


def rewritings(text: str) -> Iterator[str]:
    """The text reversed, by words reversed, rotated by 13 letters, upside down, with letters for digits, and with
    blanks for the punctuation between words."""
    yield text[::-1]
    yield " ".join(word[::-1] for word in text.split())
    yield codecs.encode(text, "rot13")
    if len(_IS_TURNED.findall(text)) > 2:
        yield text.translate(_TURNED)[::-1]
    yield _LEET_WORD.sub(_unleet, text)
    yield _PUNCTUATED.sub(lambda match: " ".join(_PUNCTUATION.sub(" ", match.group()).split()), text)


def _peeled(text: str) -> str:
    """Decodes character references and percent signs, and removes markup within and between words."""
    if "&" in text:
        text = unescape(text)
    if "%" in text:
        text = unquote(text)
    return _MARKUP.sub("", text)


def _decoded(text: str) -> Iterator[str]:
    yield from (_tags(match.group()) for match in _TAGS.finditer(text))
    readers: tuple[tuple[regex.Pattern[str], Callable[[str], bytes]], ...] = (
        (_SELECTORS, _selected),
        (_BASE64, _base64),
        (_BASE32, lambda run: base64.b32decode(run.rstrip("=") + "=" * (-len(run.rstrip("=")) % 8))),
        (_HEX, lambda run: bytes.fromhex(_HEX_SIGNS.sub("", run))),
        (_BINARY, lambda run: bytes(int(one, 2) for one in regex.findall(r"[01]{8}", run))),
        (_CODES, lambda run: bytes(int(one) for one in regex.findall(r"\d+", run))),
        (_MORSE, _morse),
    )
    for pattern, read in readers:
        for match in pattern.finditer(text):
            try:
                inner = read(match.group()).decode()
            except (ValueError, binascii.Error):
                continue
            if sum(one.isprintable() or one in "\n\t" for one in inner) > _READABLE * len(inner):
                yield inner


def _tags(run: str) -> str:
    return "".join(chr(ord(one) - 0xE0000) for one in run)


def _selected(run: str) -> bytes:
    """Bytes that variation selectors carry: the first sixteen of them, then 240 more."""
    return bytes(ord(one) - (0xFE00 if one < "\ufe10" else 0xE0100 - 16) for one in run)


def _base64(run: str) -> bytes:
    body = regex.sub(r"\s|=", "", run).replace("-", "+").replace("_", "/")
    return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)


def _morse(run: str) -> bytes:
    signs = regex.sub("[·]", ".", regex.sub("[−–]", "-", run))
    words = (word.split() for word in regex.split(r"\s*/\s*|\s{2,}", signs))
    return " ".join("".join(_MORSE_SIGNS.get(sign, "?") for sign in word) for word in words).encode()


def _unleet(match: regex.Match[str]) -> str:
    word = match.group()
    letters = sum(one.isalpha() for one in word)
    return word.replace("11", "ll").translate(_LEET) if 0 < letters < len(word) else word
