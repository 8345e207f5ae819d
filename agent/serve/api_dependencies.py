"""Builds the dependencies of the HTTP API, for all ways to start it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from agent.api.deps import ApiDeps
from agent.config import Settings
from agent.models.chat_model import ChatModel
from agent.project.catalogue import ProjectCatalogue
from agent.project.project import LiveProject
from agent.reporting.overview import Overviews
from agent.reporting.projector import Projector
from agent.reporting.readiness import CachedReadiness, Readiness, readiness
from agent.reporting.shared_reads import SharedReads
from agent.run.deltas import LocalDeltas
from agent.serve.factories import make_eraser, make_guards, make_images
from agent.store import StoreJournal
from agent.store.sql.disk_room import Room
from guardrails.checkpoints import CheckpointFile
from observability.metrics import Metrics
from observability.tracing import Tracing
from observability.values import Values


@dataclass(frozen=True)
class ApiParts:
    """Parts that the front and the API share."""

    settings: Settings
    live: LiveProject
    journal: StoreJournal
    room: Room
    """Reserved space on the journal's disk."""
    model: ChatModel
    name: str
    """Name of the model."""
    probed: ChatModel | None
    """The model that readiness checks query; None if a query would wake a model scaled to zero."""
    metrics: Metrics

    def front(self) -> ApiDeps:
        """Dependencies of the front, which handles stops and probes itself and forwards the rest."""
        return self._made(LocalDeltas(), ready=CachedReadiness(self._ready), expose=_api_alone, overview=_api_alone)

    def api(
        self,
        deltas: LocalDeltas,
        tracing: Tracing,
        projector: Projector,
        values: Callable[[], Awaitable[Values]],
        expose: Callable[[str], Awaitable[tuple[bytes, str]]],
    ) -> ApiDeps:
        """Dependencies of the process that serves the whole API.

        Args:
            values: current values of all metrics.
            expose: all metrics in the format of an ``Accept`` header, and the content type.
        """
        return self._made(
            deltas,
            ready=self._ready,
            expose=SharedReads(expose),
            overview=SharedReads(Overviews(self.journal, values, projector.values, projector.alone)),
            room=self.room,
            prices=self.settings.prices,
            tenants=self.settings.tenants,
            images=make_images(self.settings),
            eraser=make_eraser(self.settings, self.journal),
            tracing=tracing,
            interrupt_max_silence_s=self.settings.interrupt_max_silence_s,
        )

    async def _ready(self) -> Readiness:
        return await readiness(self.journal, self.probed, self.live.info, self.room)

    def _made(self, deltas: LocalDeltas, **more: Any) -> ApiDeps:
        return ApiDeps(
            journal=self.journal,
            keys=self.journal.keys,
            keyring=self.settings.keyring(self.journal.keys),
            catalogue=ProjectCatalogue(
                self.live, make_guards(self.settings, self.model, self.name, self.journal.policies), self.name
            ),
            checkpoints=CheckpointFile(self.settings.checkpoints, self.settings.audit_keys()).read,
            model=self.model,
            deltas=deltas,
            metrics=self.metrics,
            max_body_bytes=self.settings.max_body_bytes,
            requests_per_minute=self.settings.requests_per_minute,
            subject_requests_per_minute=self.settings.subject_requests_per_minute,
            **more,
        )


async def _api_alone(_: str) -> NoReturn:
    raise AssertionError("only the API's process answers this")
