"""Overview page: whether all is well, and the three tiers."""

from __future__ import annotations

import streamlit as st

from dashboards import connection, figures
from dashboards.components import badges, banner, budget, runtable, style, timeline
from dashboards.components.cards import Reading, box, card, strip
from dashboards.health import Situation, findings
from dashboards.history import History
from flightloop.overview import Overview
from flightloop.runs import RunStatus

style.heading("Overview", "what the platform does right now")


@st.fragment(run_every="3s")
def live() -> None:
    with connection.answered("show the overview"):
        situation, history = connection.situation(), connection.history()
        runs = situation.overview.runs
        busy = runs.get(RunStatus.RUNNING, 0) + runs.get(RunStatus.QUEUED, 0)
        working = "1 run at work" if busy == 1 else f"{busy} runs at work"
        banner.show(findings(situation), f"{working} · checked at {situation.now.astimezone():%H:%M:%S}")
        strip(run_counts(runs), key="runs")
        system, model, business = st.columns(3, gap="small")
        with system:
            card("System", system_tier(situation.overview, history))
        with model:
            card("Model", model_tier(situation.overview, history))
        with business:
            card("Business", business_tier(situation.overview))
        budget.card(situation.tenant, situation.now)
        charts(situation.overview)
        latest(situation)


def run_counts(runs: dict[str, int]) -> list[Reading]:
    shown = {
        "Running": [RunStatus.RUNNING, RunStatus.QUEUED, RunStatus.WAITING_AGENT],
        "Wait for approval": [RunStatus.WAITING_APPROVAL],
        "Succeeded": [RunStatus.SUCCEEDED],
        "Failed": [RunStatus.FAILED],
        "Blocked": [RunStatus.BLOCKED],
        "Stopped": [RunStatus.INTERRUPTED, RunStatus.CANCELLED],
    }
    return [Reading(label, f"{sum(runs.get(each, 0) for each in statuses):,}") for label, statuses in shown.items()]


def system_tier(overview: Overview, history: History) -> list[Reading]:
    cpu, memory = "system_cpu_utilisation_ratio", "system_memory_used_ratio"
    gpu = figures.value(overview, "system_gpu_utilisation_ratio", figures.mean)
    fragmentation = figures.value(overview, "system_memory_fragmentation_ratio", max)
    replicas = figures.value(overview, "system_replicas", deployment="Model")
    return [
        Reading(
            "CPU",
            figures.share(figures.value(overview, cpu, figures.mean)),
            "Share of the CPU time in use, mean of the nodes.",
            history.curve(cpu, figures.mean),
        ),
        Reading(
            "Memory",
            figures.share(figures.value(overview, memory, figures.mean)),
            "Share of the memory in use, mean of the nodes.",
            history.curve(memory, figures.mean),
        ),
        Reading("GPU", figures.share(gpu), "Share of time a kernel ran; – without a GPU."),
        Reading("Fragmentation", figures.share(fragmentation), "Memory that allocators hold unused."),
        Reading(
            "Network",
            figures.seconds(figures.average(overview, "system_network_seconds")),
            "Round trip between two nodes.",
        ),
        Reading(
            "API p95",
            figures.seconds(figures.p95(overview, "system_http_seconds")),
            "95th percentile of the slowest route.",
        ),
        Reading("Replicas", figures.count(replicas), "Running model replicas."),
        Reading("Resident", figures.size(figures.value(overview, "system_process_resident_bytes"))),
    ]


def model_tier(overview: Overview, history: History) -> list[Reading]:
    rates = history.rate("model_tokens_total", kind="completion")
    running, waiting = figures.value(overview, "model_running"), figures.value(overview, "model_waiting")
    return [
        Reading(
            "Tokens per second",
            f"{rates[-1]:.1f}" if rates else figures.NOTHING,
            "Completion tokens since the last refresh.",
            rates,
        ),
        Reading(
            "Slots in use",
            figures.share(figures.value(overview, "model_slot_utilisation_ratio", figures.mean)),
            "The autoscaler aims at 70 %.",
            history.curve("model_slot_utilisation_ratio", figures.mean),
        ),
        Reading("Running / waiting", f"{figures.count(running)} / {figures.count(waiting)}"),
        Reading(
            "KV cache",
            figures.share(figures.value(overview, "model_kv_used_ratio", max)),
            "Blocks in use, fullest replica.",
        ),
        Reading("First token p95", figures.seconds(figures.p95(overview, "model_ttft_seconds"))),
        Reading(
            "Confidence",
            figures.share(figures.average(overview, "model_confidence")),
            "exp(mean token log-probability), before the grammar's mask.",
        ),
        Reading(
            "Groundedness",
            figures.share(figures.average(overview, "model_groundedness")),
            "Share of the answers' claims that tool results support.",
        ),
        Reading(
            "Toxic answers",
            figures.share(_toxic(overview)),
            "Share of the answers whose toxicity is over the threshold.",
        ),
    ]


def business_tier(overview: Overview) -> list[Reading]:
    outcomes = figures.by_label(overview, "business_runs", "outcome")
    ended = sum(outcomes.values())
    verified, wrong = outcomes.get("verified", 0), outcomes.get("failed", 0)
    resolutions = figures.value(overview, "business_resolutions")
    ratings = figures.by_label(overview, "business_ratings", "score")
    rated, content = sum(ratings.values()), ratings.get("4", 0) + ratings.get("5", 0)
    roi = figures.value(overview, "business_roi_ratio", figures.mean)
    return [
        Reading(
            "Verified",
            figures.share(verified / ended if verified or wrong else None),
            "Share of the ended runs whose outcome was checked and is right; – before the first check.",
        ),
        Reading(
            "Satisfaction",
            figures.share(content / rated if rated else None),
            "Share of ratings of 4 and 5.",
        ),
        Reading("Resolutions", figures.count(resolutions), "Accepted ones."),
        Reading(
            "Response rate",
            figures.share(rated / ended if ended else None),
            "Ended runs with a rating.",
        ),
        Reading(
            "Cost per resolution",
            figures.euros(figures.value(overview, "business_cost_per_resolution_euros", max)),
            "Model and platform cost of all runs divided by accepted resolutions.",
        ),
        Reading(
            "ROI",
            f"{roi:,.1f} ×" if roi is not None and resolutions else figures.NOTHING,
            "(resolutions x human cost - total cost) / total cost, with the configured inputs; – without a resolution.",
        ),
        Reading("Model cost", figures.euros(figures.value(overview, "business_cost_euros_total"))),
        Reading("Escalated", figures.count(outcomes.get("escalated", 0)), "Handed over to a person."),
    ]


def _toxic(overview: Overview) -> float | None:
    scored = figures.number(overview, "model_toxicity")
    return (figures.value(overview, "model_toxic_total") or 0.0) / scored if scored else None


def charts(overview: Overview) -> None:
    shown = [
        (
            "How runs ended",
            "runs",
            _ordered(figures.by_label(overview, "business_runs", "outcome"), OUTCOMES),
            OUTCOMES,
        ),
        ("Verdicts that changed something", "verdicts", _verdicts(overview), ACTIONS),
        ("Expert load", "tokens", _experts(overview), None),
    ]
    for cell, (title, unit, values, colours) in zip(st.columns(3, gap="small"), shown, strict=True):
        with cell, box(title, key=f"chart-{unit}", height="stretch"):
            if values:
                timeline.bars(values, title=unit, key=f"bars-{title}", colours=colours)
            else:
                st.caption("No data yet.")


OUTCOMES = {
    "verified": badges.GREEN,
    "assumed": badges.BLUE,
    "escalated": badges.AMBER,
    "failed": badges.RED,
    "blocked": badges.VIOLET,
    "stopped": badges.GREY,
}
ACTIONS = {"redact": badges.BLUE, "ask": badges.AMBER, "block": badges.RED}


def _ordered(values: dict[str, float], order: dict[str, str]) -> dict[str, float]:
    return {name: values[name] for name in order if name in values}


def _verdicts(overview: Overview) -> dict[str, float]:
    return _ordered(figures.by_label(overview, "guardrail_verdicts_total", "action"), ACTIONS)


def _experts(overview: Overview) -> dict[str, float]:
    """The eight experts with most tokens."""
    load = figures.by_label(overview, "model_expert_tokens_total", "expert")
    busiest = sorted(load.items(), key=lambda item: -item[1])[:8]
    return {f"expert {name}": number for name, number in busiest}


def latest(situation: Situation) -> None:
    style.tier("Latest runs")
    if situation.runs:
        runtable.show(situation.runs[:8], key="latest")
    else:
        style.empty("No run yet", 'Start one on the page Chat, or with: flightloop run "Where is my order?"')


live()
