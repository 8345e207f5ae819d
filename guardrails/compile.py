"""Turns a policy document into rails, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flightloop.verdicts import Stage
from guardrails.combinators import Clock, chain, for_tools, named, parallel, settled
from guardrails.critique import constitution_rail
from guardrails.policy import Policy
from guardrails.policy_document import PolicyDocument
from guardrails.rail_entries import (
    AnyEntry,
    CodeScanEntry,
    ContentEntry,
    GroundednessEntry,
    InjectionEntry,
    InventedTimesEntry,
    LinksEntry,
    ModerationEntry,
    NormaliseEntry,
    PluginEntry,
)
from guardrails.rails.calls import arguments_rail, origin_rail, plan_rail
from guardrails.rails.claims import RAIL, claims_rail
from guardrails.rails.code import CodeScan, code_rail
from guardrails.rails.contacts import RAIL as CONTACTS_RAIL
from guardrails.rails.contacts import contacts_detector, contacts_rail
from guardrails.rails.content import content_rail
from guardrails.rails.detector import Detector, detector_rail, detectors_rail
from guardrails.rails.detectors import detector_of
from guardrails.rails.egress import egress_rail
from guardrails.rails.forbidden import forbidden_rail
from guardrails.rails.groundedness import groundedness_rail
from guardrails.rails.injection import injection_rail
from guardrails.rails.invented_times import invented_times_rail
from guardrails.rails.limits import RAIL as LIMITS_RAIL
from guardrails.rails.limits import limits_rail
from guardrails.rails.moderation import Moderate, moderation_rail
from guardrails.rails.placeholders import RAIL as PLACEHOLDERS_RAIL
from guardrails.rails.placeholders import placeholders_rail
from guardrails.rails.plugins import plugin_rail
from guardrails.rails.provenance import provenance_rail
from guardrails.rails.repeats import repeats_rail
from guardrails.rails.subject import calls_rail, results_rail
from guardrails.text.normalise import normalise_rail
from guardrails.types import Checked, Judge, Judgement, Rail


@dataclass(frozen=True)
class RailDependencies:
    """Services of the platform that rails use. A rail whose service is missing blocks.

    Attributes:
        judge: model for the grey band of the content rail and for the constitution.
        code_scan: scanner for the rail ``code_scan``.
        moderate: HTTP client for the rail ``moderation``.
    """

    judge: Judge | None = None
    code_scan: CodeScan | None = None
    moderate: Moderate | None = None


def compile_stage(policy: Policy, stage: Stage, deps: RailDependencies, clock: Clock) -> Rail:
    """Builds the rail of a stage: the built-in checks, which no policy can leave out, then the listed rails."""
    document = policy.document
    fail_open = document.stages.of(stage).fail_open

    def sealed(name: str, rail: Rail) -> Rail:
        return named(name, rail, fail_open=fail_open, clock=clock, policy_sha256=policy.sha256)

    def made(entry: AnyEntry) -> Rail:
        return sealed(entry.rail, _rail(entry, document, deps))

    listed = [made(entry) for entry in document.stages.of(stage).rails]
    match stage:
        case Stage.PLAN:
            rails = [sealed("plan", plan_rail(document)), *listed]
        case Stage.TOOL_CALL:
            structure = parallel(
                sealed("arguments", arguments_rail(document)),
                sealed("origin", origin_rail(document)),
                sealed("provenance", provenance_rail(document)),
                sealed("egress", egress_rail(document)),
                sealed("repeats", repeats_rail(document)),
                sealed("forbidden", forbidden_rail(document)),
            )
            bound = [sealed("subject", calls_rail(document.subject))] if document.subject is not None else []
            if document.placeholders is not None:
                bound.append(sealed(PLACEHOLDERS_RAIL, placeholders_rail(document.placeholders)))
            rails = [structure, *bound, *listed, sealed(CONTACTS_RAIL, contacts_rail(document.egress))]
            if document.limits:  # last, for the arguments with which the call is made
                rails.append(sealed(LIMITS_RAIL, limits_rail(document)))
        case Stage.TOOL_RESULT if document.subject is not None:
            rails = [sealed("subject", results_rail(document.subject)), *listed]
        case Stage.FINAL:
            listed = [sealed(RAIL, claims_rail(document)), *_final(document, made, sealed)]
            rails = listed
            if document.constitution.enabled:
                critique = constitution_rail(document.constitution, deps.judge, chain(*listed))
                rails = [*listed, sealed("constitution", critique)]
        case _:
            rails = listed
    return chain(*rails) if rails else _nothing


def _final(
    document: PolicyDocument, made: Callable[[AnyEntry], Rail], sealed: Callable[[str, Rail], Rail]
) -> list[Rail]:
    """Rails of the final answer: ``normalise`` if it is first, then those that read it whole and may cut it, then links
    and contacts together, then the other detectors. A cut can put a link or a number together, so detectors come last,
    until they find nothing more."""
    entries = document.stages.final.rails
    undisguise = [entry for entry in entries[:1] if isinstance(entry, NormaliseEntry)]
    links = [entry for entry in entries if isinstance(entry, LinksEntry) and entry.tools is None]
    others = [entry for entry in entries[len(undisguise) :] if entry not in links]
    finding = [entry for entry in others if detector_of(entry, document.egress)]
    cutting = [entry for entry in others if entry not in finding]
    found = [detector_of(entry, document.egress) for entry in links]
    leaving = [detector for detector in (*found, contacts_detector(document.egress)) if detector]
    before, after = ([made(one) for one in part] for part in ([*undisguise, *cutting], finding))
    together = [sealed(leaving[0].name, detectors_rail(leaving))] if leaving else []
    return [*before, *([settled(chain(*together, *after))] if together or after else [])]


def detectors(document: PolicyDocument) -> tuple[Sequence[Detector], bool]:
    """Detectors of the stream stage, and whether invisible characters are stripped first."""
    listed = [detector_of(entry, document.egress) for entry in document.stages.stream.rails]
    found = [*listed, contacts_detector(document.egress)]
    strip = any(isinstance(entry, NormaliseEntry) for entry in document.stages.stream.rails)
    return [detector for detector in found if detector], strip


async def _nothing(checked: Checked) -> Judgement:
    """Rail of a stage with ``rails: []``: allows everything on purpose."""
    return Judgement()


def _rail(entry: AnyEntry, document: PolicyDocument, deps: RailDependencies) -> Rail:
    rail = _untargeted(entry, document, deps)
    return rail if entry.tools is None else for_tools(entry.tools, rail)


def _untargeted(entry: AnyEntry, document: PolicyDocument, deps: RailDependencies) -> Rail:
    match entry:
        case NormaliseEntry():
            return normalise_rail()
        case ContentEntry():
            return content_rail(entry, deps.judge)
        case InjectionEntry():
            return injection_rail(entry)
        case GroundednessEntry():
            return groundedness_rail(entry)
        case InventedTimesEntry():
            return invented_times_rail(entry)
        case CodeScanEntry():
            return code_rail(entry, deps.code_scan)
        case ModerationEntry():
            return moderation_rail(entry, deps.moderate)
        case PluginEntry():
            return plugin_rail(entry)
        case _:
            detector = detector_of(entry, document.egress)
            assert detector is not None, entry
            return detector_rail(detector)
