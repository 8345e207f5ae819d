"""``client.predict`` and ``client.predictions``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from flightloop.call import Call, Steps, parsed_by, refused_here
from flightloop.parts import ImageSource, TableSource, image_part, table_part
from flightloop.predictions import Prediction, PredictionCreate
from flightloop.resource import Resource, X, endpoint, sequence
from flightloop.resources import Bounds, Named, until_ended
from flightloop.runs import Run

Images = ImageSource | Sequence[ImageSource]


class Predictions(Resource[X]):
    @endpoint
    def create(
        self,
        text: str = "",
        image: Images | None = None,
        table: TableSource | None = None,
        *,
        context: str = "",
        session_id: str | None = None,
        subject: Named | None = None,
        budget: Bounds | None = None,
        metadata: dict[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Call[Run]:
        """Starts the run of a prediction and returns immediately; arguments as for ``client.predict``."""
        body = _body(text, image, table, context, session_id, subject, budget, metadata)
        return _create(body, idempotency_key)

    @endpoint
    def get(self, run_id: str) -> Call[Prediction]:
        """The prediction of a run that has ended."""
        return _get(run_id)


class Predicting(Resource[X]):
    @sequence
    def predict(
        self,
        text: str = "",
        image: Images | None = None,
        table: TableSource | None = None,
        context: str = "",
        *,
        session_id: str | None = None,
        subject: Named | None = None,
        budget: Bounds | None = None,
        metadata: dict[str, str] | None = None,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
    ) -> Steps[Prediction]:
        """Describes a chart, a table or a text, or answers a question about it, with evidence.

        Args:
            text: the question; empty: what is to be seen.
            image: PNG, JPEG or WebP: bytes, a path, an address, or several of these.
            table: CSV file or text, rows, or a data frame.
            context: what the model should know about the data.
            session_id: session of an earlier prediction, for a question about its image or table.
            timeout_s: seconds to wait for the answer.

        Raises:
            InvalidRequest: the image or table can't be used.
            TimeoutError: there is no answer within ``timeout_s``.
        """
        with refused_here():
            body = _body(text, image, table, context, session_id, subject, budget, metadata)
            call = _create(body, idempotency_key)
        run: Run = yield call
        run = yield from until_ended(run, timeout_s)
        found: Prediction = yield _get(run.id)
        return found


def _create(body: PredictionCreate, idempotency_key: str | None) -> Call[Run]:
    once = {"idempotency-key": idempotency_key or uuid4().hex}  # the same for all attempts of the call
    return Call("POST", "/v1/predictions", parsed_by(Run), body=body, headers=once)


def _get(run_id: str) -> Call[Prediction]:
    return Call("GET", f"/v1/predictions/{quote(run_id, safe='')}", parsed_by(Prediction))


def _body(
    text: str,
    image: Images | None,
    table: TableSource | None,
    context: str,
    session_id: str | None,
    subject: Named | None,
    budget: Bounds | None,
    metadata: dict[str, str] | None,
) -> PredictionCreate:
    several = isinstance(image, Sequence) and not isinstance(image, str | bytes)
    images: list[Any] = [] if image is None else list(image) if several else [image]  # type: ignore[arg-type]
    return PredictionCreate.model_validate(
        {
            "text": text,
            "context": context,
            "images": [image_part(one).image_url for one in images],
            "tables": [] if table is None else [table_part(table).table],
            "session_id": session_id,
            "subject": subject,
            "budget": budget or {},
            "metadata": metadata or {},
        }
    )
