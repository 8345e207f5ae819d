"""Claims of answers with the records that they are held against: composed ones, and a score without a model.

The format of the composed ones is described in texts/README.md.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from model.probes.texts import FOLDER, NONE, UNSUPPORTED, Text, filled

CLAIMS = FOLDER / "claims"
GRAM = 4
"""Characters of a word's parts that are compared."""
_VERSIONS = re.compile(r"<<(.*?)\|(.*?)>>", re.DOTALL)
_WORD = re.compile(r"[^\W\d_㐀-鿿]{4,}|[㐀-鿿]{2,}")


def composed_claims(seed: int = 0, folder: Path = CLAIMS) -> list[Text]:
    """All composed claims: of each pair the supported one, then its neighbour that the records don't support.

    Raises ValueError: a file is not as the README says.
    """
    found: list[Text] = []
    for path in sorted(folder.glob("*.yaml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        try:
            for entry in document["texts"]:
                found += _claims(path.stem, document, entry, random.Random(f"{seed} {path.stem} {entry[0]}"))
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: {type(error).__name__}: {error}") from None
    return found


def _claims(source: str, document: dict[str, Any], entry: list[Any], chance: random.Random) -> Iterator[Text]:
    chosen = {name: [chance.choice(values)] for name, values in document.get("slots", {}).items()}
    records, *pairs = entry
    for version in (0, 1) if _VERSIONS.search(records) else (0,):
        evidence = filled(_VERSIONS.sub(rf"\{version + 1}", records), chosen, chance)
        for pair in pairs:
            supported, other = (filled(claim, chosen, chance) for claim in (pair[version], pair[1 - version]))
            for label, claim in ((NONE, supported), (UNSUPPORTED, other)):
                yield Text(source, "support", label, claim, "claim", document["language"], evidence=evidence)


def missing_share(text: Text) -> float:
    """Share of the parts of a claim's words that its evidence lacks, 0..1: the score of a check without a model.

    Parts are the runs of `GRAM` letters of words that have as many, and pairs of Chinese characters.
    """
    stated = _parts(text.text)
    return len(stated - _parts(text.evidence)) / len(stated) if stated else 0.0


def _parts(text: str) -> set[str]:
    found = set()
    for word in _WORD.findall(text.lower()):
        size = GRAM if word[0] < "㐀" else 2
        found |= {word[at : at + size] for at in range(len(word) - size + 1)}
    return found
