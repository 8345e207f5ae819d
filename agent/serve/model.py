"""Chat model behind a Ray Serve handle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from agent.models.chat_model import Capabilities
from flightloop.chat import ChatChunk, ChatRequest
from flightloop.errors import FlightloopError, InternalError, ModelUnavailable, Overloaded
from flightloop.model_card import ModelCard


class ServeChatModel:
    """``ChatModel`` that calls the model's deployment.

    Args:
        handle: a deployment with the methods of ``model.serve.replica.ModelReplica``.
        capabilities: those of the built-in engine, with the model's context length.
    """

    def __init__(self, handle: DeploymentHandle[Any], capabilities: Capabilities) -> None:
        self._handle = handle
        self._capabilities = capabilities

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        response = self._handle.options(stream=True).stream.remote(request)
        try:
            async for chunk in response:
                yield chunk
        except Exception as error:
            raise to_flightloop_error(error) from error
        finally:
            # Does nothing after a normal end; otherwise the replica stops between two tokens.
            response.cancel()

    async def models(self) -> list[ModelCard]:
        try:
            return await self._handle.models.remote()  # type: ignore[no-any-return]
        except Exception as error:
            raise to_flightloop_error(error) from error


def to_flightloop_error(error: Exception) -> FlightloopError:
    """Converts an error raised through Ray to a FlightloopError."""
    if isinstance(error, FlightloopError) and not isinstance(error, RayTaskError):
        return error
    if isinstance(error, RayTaskError):
        cause = error.cause
        return cause if isinstance(cause, FlightloopError) else InternalError(f"the model failed: {cause}")
    if isinstance(error, BackPressureError):
        return Overloaded("the model's queue is full; try again shortly", retry_after=2.0)
    if isinstance(error, RayActorError | DeploymentUnavailableError):
        return ModelUnavailable("the model's replica was lost and is restarting", retry_after=5.0)
    return InternalError(f"the model could not be called: {error}")
