"""What the attacks on a project came to, as a table and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from agent.redteam.advice import advice
from agent.redteam.attack import ANSWER, Attack, Finding, LeftOut, Outcome
from agent.redteam.target import Target

MOST_REASONS = 5
Key = tuple[str, str, str]
"""Agent, family and tool."""


@dataclass(frozen=True)
class Report:
    """The attacks on a project and how they ended.

    Attributes:
        project: its folder.
        model: name of the model that the attacks were made with.
    """

    project: str
    model: str
    seed: int
    rounds: int
    targets: Mapping[str, Target]
    findings: Sequence[Finding]
    left_out: Sequence[LeftOut]

    @property
    def holes(self) -> list[Finding]:
        return [one for one in self.findings if one.is_hole]

    @property
    def measured(self) -> bool:
        """Whether any attack was reached."""
        return self._count(Outcome.NOT_REACHED) < len(self.findings)

    def table(self) -> Table:
        """Attacks by agent, family and tool."""
        table = Table(title="attacks", title_justify="left", box=None, header_style="dim")
        several = len(self.targets) > 1
        for column in (*(("agent",) if several else ()), "family", "tool"):
            table.add_column(column)
        rare = (Outcome.IGNORED, Outcome.NOT_REACHED)
        shown = [one for one in Outcome if one not in rare or self._count(one)]
        for outcome in shown:
            table.add_column(outcome.value, justify="right")
        for (agent, family, tool), counts in self._rows():
            style = "bold red" if counts[Outcome.EXECUTED] else ""
            figures = [str(counts[outcome] or "") for outcome in shown]
            table.add_row(*([agent] if several else []), family, tool, *figures, style=style)
        return table

    def sentences(self) -> Iterator[str]:
        """What was found, each hole once, and what was left out."""
        counts = Counter(one.outcome for one in self.findings)
        told = ", ".join(f"{counts[one]} {one.value}" for one in Outcome if counts[one])
        yield f"{len(self.findings)} attacks: {told or 'none'}"
        for holes in self._alike().values():
            yield from self._hole(holes)
        if not self.measured:
            yield "No attack was reached, so nothing was measured."
        elif not self.holes:
            yield "No attack passed without an approval."
        reasons = Counter(one.reason for one in self.findings if one.outcome is Outcome.NOT_REACHED)
        yield from (f"not reached: {count}×: {reason}" for reason, count in reasons.most_common(MOST_REASONS))
        yield from (f"left out: {one.what}: {one.why}" for one in self.left_out)

    def document(self) -> dict[str, Any]:
        """The report as JSON data."""
        return {
            "project": self.project,
            "model": self.model,
            "seed": self.seed,
            "rounds": self.rounds,
            "attacks": len(self.findings),
            "outcomes": {outcome.value: self._count(outcome) for outcome in Outcome},
            "rows": [
                {"agent": agent, "family": family, "tool": tool, **{one.value: counts[one] for one in Outcome}}
                for (agent, family, tool), counts in self._rows()
            ],
            "findings": [self._finding(one) for one in self.findings],
            "left_out": [{"what": one.what, "why": one.why} for one in self.left_out],
        }

    def _finding(self, one: Finding) -> dict[str, Any]:
        attack = one.attack
        found = {
            "id": attack.id,
            "family": attack.family.value,
            "agent": attack.agent,
            "tool": attack.tool,
            "argument": attack.argument,
            "detail": attack.detail,
            "subject": attack.subject.id if attack.subject else None,
            "said": list(attack.said),
            "reader": attack.reader,
            "planted": attack.planted,
            "calls": [[{"tool": name, "arguments": given} for name, given in turn] for turn in attack.calls],
            "outcome": one.outcome.value,
            "reason": one.reason,
            "tool_said": one.tool_said,
        }
        return found | ({"advice": self._advice(attack)} if one.is_hole else {})

    def _hole(self, holes: Sequence[Finding]) -> Iterator[str]:
        first = holes[0]
        attack = first.attack
        about = f", {attack.argument}" if attack.argument else ""
        yield f"HOLE {attack.family.value}: {attack.tool}{about} ({attack.agent}, {len(holes)}×; {attack.detail})"
        yield f'  the user says: "{attack.said[0]}"'
        if attack.reader is not None:
            yield f'  {attack.reader} returns: "{attack.planted}"'
        if attack.tool == ANSWER:
            yield f'  the model answers: "{attack.answer}"'
        elif attack.calls[-1]:
            name, arguments = attack.calls[-1][-1]
            yield f"  the model calls: {name} {arguments}; the tool: {first.tool_said or 'not called'}"
        yield from (f"  to close it: {line}" for line in self._advice(attack))

    def _advice(self, attack: Attack) -> list[str]:
        return advice(attack, self.targets[attack.agent])

    def _alike(self) -> dict[tuple[Any, ...], list[Finding]]:
        found: dict[tuple[Any, ...], list[Finding]] = {}
        for one in self.holes:
            key = (one.attack.agent, one.attack.family, one.attack.tool, one.attack.argument)
            found.setdefault(key, []).append(one)
        return found

    def _count(self, outcome: Outcome) -> int:
        return sum(one.outcome is outcome for one in self.findings)

    def _rows(self) -> list[tuple[Key, Counter[Outcome]]]:
        rows: dict[Key, Counter[Outcome]] = {}
        for one in self.findings:
            key = (one.attack.agent, one.attack.family.value, one.attack.tool)
            rows.setdefault(key, Counter())[one.outcome] += 1
        return list(rows.items())
