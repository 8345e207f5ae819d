"""The procedure ``code``: write programs, compile, scan and test them, repair them, and return the best one.

Programs are judged by what the prompt itself shows: its examples, and the agreement of programs that were written
independently on the values of test calls (the idea of CodeT, https://arxiv.org/abs/2207.10397, with agreement on values
instead of predicted ones only). The procedure sees no other tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from agent.procedures.candidates import REPAIR, TESTS, Candidate, Work, read_work
from agent.procedures.code_prompts import (
    Messages,
    problems_of,
    repair_messages,
    scenario_messages,
    test_messages,
    write_messages,
)
from agent.procedures.code_report import report
from agent.procedures.decoding import never_in, opening_of
from agent.procedures.examples import Test
from agent.procedures.languages import language_named
from agent.procedures.procedure import Ask, Check, Finish, Outline, Progress, Step, ToolUse, Unusable
from agent.procedures.wanted import Kind
from flightloop.code_result import result_text
from flightloop.code_task import CodeTask, SecurityLevel, parsed_task

TEMPERATURE = 0.6
"""Of every program but the first, which is decoded greedily."""
RAISED_TEMPERATURE = 0.9
"""Once two or more programs fail the examples in the same way: more of that kind would tell nothing new."""
MOST_OWN_TESTS = 8
MOST_UNUSABLE = 3
MOST_TEST_TRIES = {SecurityLevel.LOW: 2, SecurityLevel.MEDIUM: 2, SecurityLevel.HIGH: 4}
AGREEING = 2
"""Programs written independently that have to agree before no more are written."""
ENOUGH_EXAMPLES, ENOUGH_PROGRAMS = 3, 3
"""A program that passes all of so many examples needs no agreement, nor does one of so many programs."""
TEST_TOKENS, SCENARIO_TOKENS = 240, 320
"""Longest answer with tests. Small models go on with the same test."""


class CodeProcedure:
    """Implements ``agent.procedures.procedure.Procedure``."""

    def next(self, progress: Progress) -> Step:
        task, prompt = parsed_task(progress.text)
        return _Generation(task, prompt, read_work(progress.turns), progress.steps_left).step()


@dataclass
class _Generation:
    task: CodeTask
    prompt: str
    work: Work
    steps_left: int

    def __post_init__(self) -> None:
        self.language = language_named(self.task.language)
        self.level = self.task.security_level
        self.stub = self.language.is_stub(self.prompt)
        self.wanted = self.language.wanted(self.prompt, self.task.constraints.signature)
        self._judge()
        self.entry = self._entry()
        self.examples = self._examples(self.entry)

    def _judge(self) -> None:
        """Compares each program with the names and the header that were asked for."""
        header = self.task.constraints.signature or self.language.header(self.prompt)
        header = f"{header.rstrip(':{; ')}:" if header else None
        for one in self.work.candidates:
            missing = self.language.missing(one.code, self.wanted.names)
            if one.compiled and missing is not None:
                one.error = f"the program does not define {missing}, which was asked for"
            one.mistyped = self.language.mistyped(header, one.returned())

    def step(self) -> Step:
        work = self.work
        if not work.outlined:
            return self._outline()
        if self.steps_left <= 1 or work.unusable >= MOST_UNUSABLE or self._refused():
            return self._finish()
        if not work.candidates:
            return self._write()
        if self._wants_tests():
            return self._write_tests()
        best = self.best()
        if len(work.candidates) >= self.task.rounds or self._settled(best):
            return self._measure(best) or self._finish()
        return self._again()

    def _refused(self) -> bool:
        """Whether two programs in a row could not be compiled for the same reason, which no program changes."""
        last = self.work.candidates[-2:]
        return len(last) > 1 and all(one.refused for one in last) and last[0].error == last[1].error

    def _wants_tests(self) -> bool:
        """Whether to ask for tests: once in any case, and again while no test of any program passes."""
        tries, work = self.work.test_tries, self.work
        if (
            self.wanted.kind is Kind.PROGRAM
            or self.entry is None
            or self.task.rounds == 1
            or tries >= MOST_TEST_TRIES[self.level]
        ):
            return False
        best = self.best()
        if best is None or best.error or (tries and problems_of(best, self.level, self.examples)):
            return False
        if tries == 0:
            return True
        if self.examples or any(self._has_accepted_test(one) for one in work.candidates):
            return False
        return tries < len(work.candidates) + 1 or self._settled(best)  # another program may pass the tests there are

    # The steps

    def _outline(self) -> Step:
        tools = ["compile_code", "scan_code", "run_tests"]
        tools += ["check_constraints"] if self.task.constraints.any else []
        tools += ["measure_growth"] if self.task.constraints.growth else []
        goal = f"{self.language.name} at level {self.level}, at most {self.task.rounds} programs"
        return Outline(goal, tuple(tools))

    def _write(self) -> Step:
        number = len(self.work.candidates) + self.work.unusable
        failed = [one for one in self.examples if any(each.failed([one]) for each in self.work.candidates)]
        messages = write_messages(self.task, self.prompt, stub=self.stub, warned=self._warnings(), failed=failed)
        temperature = RAISED_TEMPERATURE if self._stuck() else TEMPERATURE
        return self._program("write", messages, 0.0 if number == 0 else temperature, number)

    def _repair(self, candidate: Candidate, problems: Sequence[str]) -> Step:
        number = len(self.work.candidates) + self.work.unusable
        messages = repair_messages(self.task, self.prompt, candidate, problems, stub=self.stub)
        return self._program(f"{REPAIR}: {problems[0]}"[:200], messages, TEMPERATURE, number)

    def _program(self, label: str, messages: Messages, temperature: float, seed: int) -> Step:
        opening, never = opening_of(self.task, self.language.header(self.prompt)), never_in(self.task)
        return Ask(label, messages, self._checks, temperature, seed, opening=opening, never=never)

    def _write_tests(self) -> Step:
        assert self.entry is not None
        tries, entry = self.work.test_tries, self.entry
        if tries == 0 and self.wanted.kind is not Kind.CLASS:
            messages = test_messages(self.task, self.prompt, entry, self.language.test_form(entry), stub=self.stub)
            return Ask(TESTS, messages, self._read_tests, 0.0, 0, TEST_TOKENS, self.language.test_opening(entry))
        messages = scenario_messages(self.task, self.prompt, entry, self.wanted.kind, stub=self.stub)
        opening = self.language.scenario_opening(entry if self.wanted.kind is Kind.CLASS else None)
        temperature = TEMPERATURE if self.work.scenarios or tries > 1 else 0.0
        return Ask(TESTS, messages, self._read_scenario, temperature, tries, SCENARIO_TOKENS, opening)

    def _again(self) -> Step:
        """Repairs the latest program, or else writes another one."""
        last = self.work.candidates[-1]
        problems = problems_of(last, self.level, self.examples)
        rewritten = next((index for index, one in enumerate(reversed(self.work.candidates)) if one.kind == "write"), 0)
        functional = bool(last.error or last.crashes() or last.mistyped or last.failed(self.examples))
        repairs = 0 if last.refused else 1 if functional else 2
        if problems and rewritten < repairs and not (functional and self._repeats()):
            return self._repair(last, problems)
        return self._write()

    def _repeats(self) -> bool:
        """Whether the model has answered a request for repair with the same program, or one that fails alike."""
        pairs = pairwise(self.work.candidates)
        return any(later.kind == "repair" and self._alike(earlier, later) for earlier, later in pairs)

    def _stuck(self) -> bool:
        """Whether the latest two programs fail the examples in the same way."""
        return len(self.work.candidates) > 1 and self._alike(*self.work.candidates[-2:])

    def _alike(self, one: Candidate, other: Candidate) -> bool:
        if one.code.split() == other.code.split():
            return True
        calls = [call for call, _ in self.examples]
        failing = one.compiled and other.compiled and bool(one.failed(self.examples))
        return failing and one.values(calls) == other.values(calls)

    def _measure(self, best: Candidate | None) -> Step | None:
        """Measures the growth of the best program, if that is asked for and was not done."""
        growth, signature = self.task.constraints.growth, self.task.constraints.signature
        if growth is None or best is None or best.growth is not None or not best.compiled:
            return None
        arguments = {"code": best.code, "signature": signature, "growth": growth}
        return Check("measure", [ToolUse("measure_growth", arguments)])

    def _finish(self) -> Step:
        best = self.best()
        own = self._accepted_tests(best)
        supported = best is not None and self._supported(best)
        facts = (self.task, self.language, self.work, best, self.examples, own, self.wanted, self.entry)
        return Finish(result_text(report(*facts, supported=supported)))

    # Reading answers

    def _checks(self, answer: str) -> list[ToolUse]:
        code = self.language.program(answer, self.prompt)
        language = {"language": self.language.name}
        calls = [ToolUse("compile_code", {"code": code, **language}), ToolUse("scan_code", {"code": code, **language})]
        if self.task.constraints.any:
            asked = self.task.constraints.model_dump(exclude={"growth"}, exclude_defaults=True)
            calls.append(ToolUse("check_constraints", {"code": code, "constraints": asked, **language}))
        tests = _as_arguments([*self._tests_for(code), *self.work.own_tests])
        tests += [{"statements": text} for text in self.work.scenarios]
        if tests:
            calls.append(ToolUse("run_tests", {"code": code, "tests": tests, **language}))
        return calls

    def _tests_for(self, code: str) -> list[Test]:
        if self.entry is not None:
            return self.examples
        return self._examples(self.language.defined(code))  # the first program decides what the function is called

    def _examples(self, entry: str | None) -> list[Test]:
        """The prompt's examples of the function, or of the methods of the class that it names."""
        names = [*self.wanted.names, *self._methods()] if self.wanted.kind is Kind.CLASS else [entry] if entry else []
        return list(dict.fromkeys(test for name in names for test in self.language.examples(self.prompt, name)))

    def _methods(self) -> list[str]:
        """The first method of the first program that was written."""
        found = self.language.defined(self.work.candidates[0].code) if self.work.candidates else None
        return [found] if found else []

    def _read_tests(self, answer: str) -> list[ToolUse]:
        assert self.entry is not None
        parsed = [self.language.parsed_test(line, self.entry) for line in answer.splitlines()]
        known = {call for call, _ in self.examples}
        tests = {test[0]: test for test in parsed if test is not None and test[0] not in known}
        if not tests:
            raise Unusable("the answer contains no test besides the prompt's examples")
        return self._run_on_best(_as_arguments(list(tests.values())[:MOST_OWN_TESTS]))

    def _read_scenario(self, answer: str) -> list[ToolUse]:
        assert self.entry is not None
        return self._run_on_best([{"statements": self.language.scenario(answer, self.entry)}])

    def _run_on_best(self, tests: list[dict[str, str]]) -> list[ToolUse]:
        """The call that runs new tests on the best program so far; later ones are tested with all tests."""
        best = self.best()
        assert best is not None
        return [ToolUse("run_tests", {"code": best.code, "tests": tests, "language": self.language.name})]

    # Judging

    def best(self) -> Candidate | None:
        """The program to return: it passes most examples, has fewest problems, and agrees with most others."""
        usable = [one for one in self.work.candidates if one.compiled]
        if not usable:
            return None
        agreeing = Counter(self._behaviour(one) for one in usable)
        own = self.work.own_tests

        def rank(one: Candidate) -> tuple[float, ...]:
            slow = one.growth is not None and one.growth.get("kept") is False
            examples_passed, open_ones = len(one.passed(self.examples)), len(one.open_findings(self.level))
            clean = float(open_ones == 0 and not slow)
            strict = clean if self.level is SecurityLevel.HIGH else 0.0
            own_passed = len(one.passed(own)) + len(one.survived(self.work.scenarios))
            agreement = agreeing[self._behaviour(one)] * (1 + own_passed) if self._agreeing(one) else 0
            return strict, float(not one.error), examples_passed, clean, -open_ones, agreement

        return max(usable, key=rank)

    def _settled(self, best: Candidate | None) -> bool:
        """Whether no further program is needed."""
        if best is None or problems_of(best, self.level, self.examples) or not best.checked:
            return False
        if self.examples and (len(self.examples) >= ENOUGH_EXAMPLES or len(self.work.candidates) >= ENOUGH_PROGRAMS):
            return self.level is not SecurityLevel.HIGH or self._supported(best)
        if self.wanted.kind is Kind.PROGRAM:
            return True  # nothing would tell which of several is right
        if not self._probes():
            return bool(self.examples) or len(self.work.candidates) >= AGREEING
        return self._agreeing(best) >= AGREEING

    def _supported(self, best: Candidate) -> bool:
        """Whether more than one or two examples speak for a program: more of them, another program, or own tests."""
        enough = len(self.examples) >= ENOUGH_EXAMPLES
        return enough or self._agreeing(best) >= AGREEING or self._has_accepted_test(best)

    def _agreeing(self, best: Candidate) -> int:
        """Programs that do what this one does; 0 if all that it does is to raise errors."""
        behaviour = self._behaviour(best)
        if behaviour and all(value[:1] in ("!", "?") for value in behaviour):
            return 0
        return sum(self._behaviour(one) == behaviour for one in self.work.candidates if one.compiled)

    def _behaviour(self, one: Candidate) -> tuple[str, ...]:
        return one.values(self._probes())

    def _probes(self) -> list[str]:
        return [call for call, _ in (*self.examples, *(self.work.own_tests))]

    def _accepted_tests(self, best: Candidate | None) -> list[Test]:
        """Own tests that the program passes, or whose value another program confirms."""
        if best is None:
            return []
        tests = []
        for call, expected in self.work.own_tests:
            value = best.values([call])[0]
            others = [one for one in self.work.candidates if one is not best and one.values([call])[0] == value]
            if (call, expected) in best.passed([(call, expected)]):
                tests.append((call, expected))
            elif others and value and value[0] not in "!?":
                tests.append((call, value))
        return tests

    def _has_accepted_test(self, one: Candidate) -> bool:
        """Whether tests apart from the prompt's examples speak for a program.

        Calls that all expect the same value do not at ``high``: a program that always returns it would pass them.
        """
        own = self._accepted_tests(one)
        if self.level is not SecurityLevel.HIGH:
            return bool(own or one.survived(self.work.scenarios))
        expected = {value for _, value in (*one.passed(self.examples), *own)}
        return bool(one.survived(self.work.scenarios)) or (bool(own) and len(expected) > 1)

    def _warnings(self) -> list[str]:
        """Findings of earlier programs, for the next one."""
        found = [
            f"{one['reason']} {one.get('fix', '')}"
            for each in self.work.candidates
            for one in each.open_findings(self.level)
        ]
        return list(dict.fromkeys(found))[:3]

    def _entry(self) -> str | None:
        asked = self.wanted.entry
        if asked is None and self.work.candidates:
            return self.language.defined(self.work.candidates[0].code)
        return asked


def _as_arguments(tests: Sequence[Test]) -> list[dict[str, str]]:
    return [{"call": call, "expected": expected} for call, expected in tests]
