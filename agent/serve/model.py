"""The model behind a Ray Serve handle: one of the two implementations of ``ChatModel``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from agent.models.chat_model import Capabilities
from flightloop.chat import ChatChunk, ChatRequest, ModelCard
from flightloop.errors import FlightloopError, InternalError, ModelUnavailable, Overloaded


class ServeChatModel:
    """Calls the model's deployment.

    Args:
        handle: of a deployment with the methods of ``model.serve.replica.ModelReplica``.
        capabilities: of our own engine, with the model's context length.
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
            raise translated(error) from error
        finally:
            # After a natural end this does nothing; otherwise the replica stops between two tokens.
            response.cancel()

    async def models(self) -> list[ModelCard]:
        try:
            return await self._handle.models.remote()  # type: ignore[no-any-return]
        except Exception as error:
            raise translated(error) from error


def translated(error: Exception) -> FlightloopError:
    """Our own error out of what Ray made of it."""
    if isinstance(error, FlightloopError) and not isinstance(error, RayTaskError):
        return error
    if isinstance(error, RayTaskError):
        cause = error.cause
        return cause if isinstance(cause, FlightloopError) else InternalError(f"the model failed: {cause}")
    if isinstance(error, BackPressureError):
        return Overloaded("the model's queue is full; try again shortly", retry_after=2.0)
    if isinstance(error, RayActorError | DeploymentUnavailableError):
        return ModelUnavailable("the model's replica was lost; it restarts by itself", retry_after=5.0)
    return InternalError(f"the model could not be called: {error}")
