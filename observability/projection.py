"""Projects journal events to run, tool, guardrail and business figures.

A pure fold, exact after any crash: store ``state()`` together with the journal's position, and continue
from there. Figures are kept per tenant; the exposition shows their sum.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from flightloop.events import (
    ApprovalDecided,
    ApprovalRequested,
    CallsDecided,
    ChecksPassed,
    ContextCompacted,
    Event,
    FeedbackGiven,
    Judged,
    ModelCall,
    OutcomeVerified,
    Planned,
    Replied,
    RunCreated,
    RunEnded,
    RunEvent,
    RunResumed,
    ToolResult,
)
from flightloop.verdicts import Action, Stage, Verdict
from observability.catalog import (
    BUSINESS_CALIBRATED_RUNS,
    BUSINESS_CALIBRATION_ERROR,
    BUSINESS_COST_EUROS,
    BUSINESS_COST_PER_RESOLUTION_EUROS,
    BUSINESS_PERIOD_SECONDS,
    BUSINESS_RESOLUTIONS,
    BUSINESS_ROI_RATIO,
    GUARDRAIL_APPROVALS,
    GUARDRAIL_SECONDS,
    GUARDRAIL_VERDICTS,
    MODEL_GROUNDEDNESS,
    MODEL_TOXIC,
    MODEL_TOXICITY,
    RUN_COMPACTIONS,
    RUN_CONFIDENCE,
    RUN_CREATED,
    RUN_DECISIONS,
    RUN_ENDED,
    RUN_SECONDS,
    RUN_STEPS,
    RUN_TOKENS,
    TOOL_CALLS,
    TOOL_RETRIES,
    TOOL_SECONDS,
    TOOL_TAINTED,
)
from observability.config import BusinessConfig, ProjectionConfig
from observability.limits import LabelLimits
from observability.merging import merge
from observability.metrics import Snapshot
from observability.run_facts import RunFacts
from observability.series import Exemplar, Series
from observability.trace_id import trace_id_of
from observability.values import Values

UNKNOWN = RunFacts(tenant="", agent="unknown", began=0.0)


class JournalProjection:
    """Figures of all tenants, folded from journal events.

    Args:
        config: settings of the projection, such as the toxicity threshold.
        business: inputs of costs and ROI. They affect ``values`` only, not the state.
    """

    def __init__(self, config: ProjectionConfig | None = None, business: BusinessConfig | None = None) -> None:
        self.position = 0
        self._config = config or ProjectionConfig()
        self._business = business or BusinessConfig()
        self._tenants: dict[str, Series] = {}
        self._periods: dict[str, list[float]] = {}
        self._runs: OrderedDict[str, RunFacts] = OrderedDict()  # ended runs in the order of their end
        self._ended: OrderedDict[str, None] = OrderedDict()

    def apply(self, position: int, tenant: str, event: RunEvent) -> None:
        """Applies an event. ``position`` grows over the whole journal; positions already applied are skipped."""
        if position <= self.position:
            return
        self.position = position
        if event.copied:
            return  # already counted in the run from which it was copied
        series = self._tenants.setdefault(tenant, Series())
        if event.at:
            at = event.at.timestamp()
            self._periods.setdefault(tenant, [at, at])[1] = at
        if handler := _HANDLERS.get(type(event)):
            handler(self, series, tenant, event)

    @property
    def tenants(self) -> set[str]:
        """Tenants with events."""
        return set(self._tenants)

    def values(self, tenant: str | None = None) -> Values:
        """Figures of one tenant, or of all tenants."""
        tenants = self._tenants if tenant is None else {tenant: self._tenants.get(tenant, Series())}
        made = merge(tenants.values(), LabelLimits())
        if periods := [self._periods[name] for name in tenants if name in self._periods]:
            seconds = max(end for _, end in periods) - min(start for start, _ in periods)
            made.set(BUSINESS_PERIOD_SECONDS, seconds, {})
            self._returns(Values(made))
        return Values(made)

    def snapshot(self) -> Snapshot:
        """Figures of all tenants for the aggregator. Snapshots of the same journal replace each other."""
        series = self.values().series
        end = max((period[1] for period in self._periods.values()), default=0.0)
        return Snapshot("journal", "journal", self.position, end, series)

    def state(self) -> dict[str, Any]:
        """The state of the fold as JSON."""
        return {
            "position": self.position,
            "tenants": {name: series.state() for name, series in self._tenants.items()},
            "periods": {name: list(period) for name, period in self._periods.items()},
            "runs": {run_id: facts.state() for run_id, facts in self._runs.items()},
            "ended": list(self._ended),
        }

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Any],
        config: ProjectionConfig | None = None,
        business: BusinessConfig | None = None,
    ) -> JournalProjection:
        made = cls(config, business)
        made.position = state["position"]
        made._tenants = {name: Series.from_state(series) for name, series in state["tenants"].items()}
        made._periods = {name: list(period) for name, period in state["periods"].items()}
        made._runs = OrderedDict((run_id, RunFacts(*facts)) for run_id, facts in state["runs"].items())
        made._ended = OrderedDict.fromkeys(state["ended"])
        return made

    def _returns(self, values: Values) -> None:
        cost = self._business.total_cost(
            values.value(BUSINESS_COST_EUROS) or 0.0, values.value(BUSINESS_PERIOD_SECONDS) or 0.0
        )
        resolutions = values.value(BUSINESS_RESOLUTIONS) or 0.0
        roi = self._business.roi(resolutions, cost)
        if roi is not None:
            values.series.set(BUSINESS_ROI_RATIO, roi, {"inputs": self._business.version})
        if resolutions:
            values.series.set(BUSINESS_COST_PER_RESOLUTION_EUROS, cost / resolutions, {})

    def _facts(self, run_id: str) -> RunFacts:
        """Facts about a run. Forgotten runs count under the agent ``unknown``."""
        return self._runs.get(run_id, UNKNOWN)

    def _created(self, series: Series, tenant: str, event: RunCreated) -> None:
        facts = RunFacts(tenant, event.agent, _seconds(event))
        if event.traceparent is not None:
            facts.trace_id = trace_id_of(event.run_id, event.traceparent)
        self._runs[event.run_id] = facts
        series.inc(RUN_CREATED, 1, {"agent": event.agent})
        facts.tally(series, 1)

    def _resumed(self, series: Series, tenant: str, event: RunResumed) -> None:
        facts = self._runs.get(event.run_id)
        if facts is None or facts.status is None:
            return
        facts.tally(series, -1)
        facts.status = facts.stop_reason = None
        facts.began, facts.steps, facts.tokens = _seconds(event), 0, 0
        facts.tally(series, 1)
        self._ended.pop(event.run_id, None)

    def _ended_run(self, series: Series, tenant: str, event: RunEnded) -> None:
        facts = self._facts(event.run_id)
        agent = {"agent": facts.agent}
        series.inc(RUN_ENDED, 1, {**agent, "status": event.status, "stop_reason": event.stop_reason})
        if facts is UNKNOWN or facts.status is not None:
            return
        for metric, value in (
            (RUN_SECONDS, max(_seconds(event) - facts.began, 0.0)),
            (RUN_STEPS, facts.steps),
            (RUN_TOKENS, facts.tokens),
        ):
            series.observe(metric, value, agent, self._exemplar(event, value))
        facts.tally(series, -1)
        facts.status, facts.stop_reason = event.status.value, event.stop_reason.value
        if facts.asked:  # the end of a run closes its open approvals without further events
            series.inc(GUARDRAIL_APPROVALS, facts.asked, {"decision": "expire"})
            facts.asked = 0
        facts.tally(series, 1)
        self._ended[event.run_id] = None
        while len(self._ended) > self._config.remembered_runs:
            del self._runs[self._ended.popitem(last=False)[0]]

    def _decided(self, series: Series, tenant: str, event: Planned | CallsDecided | Replied) -> None:
        facts, model = self._facts(event.run_id), event.model
        agent = {"agent": facts.agent}
        series.inc(RUN_DECISIONS, 1, {**agent, "kind": event.type.removeprefix("decision.")})
        series.inc(BUSINESS_COST_EUROS, max(model.cost, 0.0), agent, self._exemplar(event, model.cost))
        if model.confidence is not None:
            series.observe(RUN_CONFIDENCE, model.confidence, agent, self._exemplar(event, model.confidence))
        if facts is not UNKNOWN:
            _add_model_call(facts, model)

    def _judged(self, series: Series, tenant: str, event: Judged) -> None:
        self._verdict(series, event.verdict, event)

    def _passed(self, series: Series, tenant: str, event: ChecksPassed) -> None:
        for name, times in event.passed.milliseconds.items():
            stage, _, rail = name.partition("/")
            series.inc(GUARDRAIL_VERDICTS, len(times), {"rail": rail, "stage": stage, "action": Action.ALLOW})
            for spent in times:
                series.observe(GUARDRAIL_SECONDS, spent / 1000, {"rail": rail})
        if any(name.startswith(f"{Stage.FINAL}/") for name in event.passed.scores):
            for verdict in event.passed.verdicts:
                self._scored(series, verdict, event)

    def _verdict(self, series: Series, verdict: Verdict, event: Event) -> None:
        rail = {"rail": verdict.rail}
        series.inc(GUARDRAIL_VERDICTS, 1, {**rail, "stage": verdict.stage, "action": verdict.action})
        seconds = verdict.milliseconds / 1000
        series.observe(GUARDRAIL_SECONDS, seconds, rail, self._exemplar(event, seconds))
        self._scored(series, verdict, event)

    def _scored(self, series: Series, verdict: Verdict, event: Event) -> None:
        if verdict.stage is not Stage.FINAL or not verdict.scores:
            return
        agent = {"agent": self._facts(event.run_id).agent}
        groundedness = verdict.scores.get(self._config.groundedness_category)
        if groundedness is not None:
            series.observe(MODEL_GROUNDEDNESS, groundedness, agent, self._exemplar(event, groundedness))
        if verdict.rail in self._config.toxicity_rails:
            toxicity = max(verdict.scores.values())
            series.observe(MODEL_TOXICITY, toxicity, agent, self._exemplar(event, toxicity))
            series.inc(MODEL_TOXIC, float(toxicity > self._config.toxicity_threshold), agent)

    def _tool(self, series: Series, tenant: str, event: ToolResult) -> None:
        tool = {"tool": event.tool if event.known else "unknown"}
        series.inc(TOOL_CALLS, 1, {**tool, "outcome": "ok" if event.ok else "error"})
        series.observe(TOOL_SECONDS, event.seconds, tool, self._exemplar(event, event.seconds))
        series.inc(TOOL_TAINTED, float(event.tainted), tool)
        series.inc(TOOL_RETRIES, event.tries - 1, tool)

    def _shortened(self, series: Series, tenant: str, event: ContextCompacted) -> None:
        series.inc(RUN_COMPACTIONS, 1, {"agent": self._facts(event.run_id).agent})

    def _asked(self, series: Series, tenant: str, event: ApprovalRequested) -> None:
        series.inc(GUARDRAIL_APPROVALS, 1, {"decision": "requested"})
        if (facts := self._facts(event.run_id)) is not UNKNOWN:
            facts.asked += 1

    def _answered(self, series: Series, tenant: str, event: ApprovalDecided) -> None:
        series.inc(GUARDRAIL_APPROVALS, 1, {"decision": event.decision})
        if (facts := self._facts(event.run_id)) is not UNKNOWN:
            facts.asked = max(0, facts.asked - 1)

    def _rated(self, series: Series, tenant: str, event: FeedbackGiven) -> None:
        facts = self._facts(event.run_id)
        if facts is UNKNOWN:
            return
        facts.tally(series, -1)
        facts.score, facts.resolved = event.feedback.score, event.feedback.resolved
        facts.tally(series, 1)

    def _exemplar(self, event: Event, value: float) -> Exemplar:
        trace_id = self._facts(event.run_id).trace_id or trace_id_of(event.run_id)
        return Exemplar(trace_id, value, _seconds(event))

    def _verified(self, series: Series, tenant: str, event: OutcomeVerified) -> None:
        facts = self._facts(event.run_id)
        if facts is UNKNOWN:
            return
        if facts.solved is None and facts.confidence is not None:
            series.inc(BUSINESS_CALIBRATED_RUNS, 1, {})
            series.inc(BUSINESS_CALIBRATION_ERROR, (facts.confidence - event.solved) ** 2, {})
        facts.tally(series, -1)
        facts.solved = event.solved
        facts.tally(series, 1)


def _add_model_call(facts: RunFacts, model: ModelCall) -> None:
    facts.steps += 1
    facts.tokens += model.usage.prompt_tokens + model.usage.completion_tokens
    if model.confidence is not None:
        facts.confidence_sum += model.confidence
        facts.confidence_count += 1


def _seconds(event: Event) -> float:
    return event.at.timestamp() if event.at else 0.0


_HANDLERS: dict[type[Event], Callable[[JournalProjection, Series, str, Any], None]] = {
    RunCreated: JournalProjection._created,
    RunResumed: JournalProjection._resumed,
    RunEnded: JournalProjection._ended_run,
    Planned: JournalProjection._decided,
    CallsDecided: JournalProjection._decided,
    Replied: JournalProjection._decided,
    Judged: JournalProjection._judged,
    ChecksPassed: JournalProjection._passed,
    ToolResult: JournalProjection._tool,
    ContextCompacted: JournalProjection._shortened,
    ApprovalRequested: JournalProjection._asked,
    ApprovalDecided: JournalProjection._answered,
    FeedbackGiven: JournalProjection._rated,
    OutcomeVerified: JournalProjection._verified,
}
