"""The timeline's chart: labels are data, whatever they contain."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from dashboards.components.timeline import label_expression


@given(st.dictionaries(st.text("0123456789", min_size=4, max_size=4), st.text()))
@example({"0000": '1 · it\'s "a" \\ tool'})
def test_any_label_is_one_string_of_the_expression(labels: dict[str, str]) -> None:
    literal = label_expression(labels).removesuffix("[datum.value]")
    assert json.loads(literal) == labels
