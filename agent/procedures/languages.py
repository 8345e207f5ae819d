"""The languages of generated programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agent.procedures.examples import Test
from agent.procedures.java_code import JavaCode
from agent.procedures.python_code import PythonCode
from agent.procedures.wanted import Wanted


class GeneratedLanguage(Protocol):
    """A language as the procedure uses it: reads answers, prompts and tests."""

    @property
    def name(self) -> str: ...
    def file(self, code: str) -> str:
        """Name of a program's file."""
        ...

    def tests_file(self, code: str) -> str:
        """Name of the file with a program's tests."""
        ...

    def program(self, answer: str, prompt: str) -> str:
        """The program in a model's answer. Raises Unusable."""
        ...

    def entry(self, prompt: str, signature: str | None) -> str | None:
        """Name of the function that is asked for; None if the prompt does not say."""
        ...

    def wanted(self, prompt: str, signature: str | None) -> Wanted:
        """What the prompt asks for."""
        ...

    def missing(self, code: str, names: Sequence[str]) -> str | None:
        """The first of these names that a program does not define."""
        ...

    def mistyped(self, header: str | None, results: Sequence[tuple[str, str]]) -> str | None:
        """What is wrong with the type of a call's value; None if nothing is known to be.

        Args:
            header: the header that was asked for.
            results: calls and the texts of their values.
        """
        ...

    def defined(self, code: str) -> str | None:
        """Name of the function to test in a program whose prompt named none."""
        ...

    def is_stub(self, prompt: str) -> bool:
        """Whether the prompt is code to complete."""
        ...

    def header(self, prompt: str) -> str | None:
        """Header of the function that the prompt's code leaves to be completed; None: not known."""
        ...

    def examples(self, prompt: str, entry: str) -> list[Test]:
        """Calls in the prompt with the values that they should return."""
        ...

    def test_form(self, entry: str) -> str:
        """What a test looks like that a model should write."""
        ...

    def test_opening(self, entry: str) -> str:
        """The beginning of an answer that consists of such tests."""
        ...

    def scenario_opening(self, made: str | None) -> str:
        """The beginning of an answer with a test made of statements. ``made``: the class to make an object of."""
        ...

    def parsed_test(self, line: str, entry: str) -> Test | None:
        """A test that a model wrote; None for other lines."""
        ...

    def scenario(self, answer: str, entry: str) -> str:
        """A test that a model wrote as statements. Raises Unusable."""
        ...

    def test_file(self, tests: Sequence[Test], scenarios: Sequence[str], entry: str | None, code: str) -> str:
        """A file with tests, for people to run."""
        ...


LANGUAGES: dict[str, GeneratedLanguage] = {"python": PythonCode(), "java": JavaCode()}


def language_named(name: str) -> GeneratedLanguage:
    return LANGUAGES[name]
