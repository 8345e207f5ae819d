"""The model that `agent eval` and other commands play with."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.admin.served_model import served_model
from agent.config import Settings
from agent.testing.model_server import ScriptedServer
from flightloop.answer import completed
from flightloop.chat import ChatMessage, ChatRequest, RequestExtension
from flightloop.content import TextPart
from flightloop.errors import ConfigError


@pytest.mark.parametrize("planned", [True, False])
async def test_the_running_platforms_model_is_used_as_the_platform_uses_it(
    planned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedServer(models=("small",), reads_plans=planned, context_length=4096).serving() as url:
        monkeypatch.setenv("FLIGHTLOOP_URL", url.removesuffix("/v1"))
        monkeypatch.setenv("FLIGHTLOOP_API_KEY", "fl-" + "a" * 40)
        async with served_model(Settings(home=tmp_path)) as played:
            found = played.chat.capabilities
            assert (played.name, played.where) == ("small", f"{url} (the running platform)")
            assert (found.reads_plans, found.context_length, found.logprobs) == (planned, 4096, True)


async def test_the_running_platform_plays_with_the_agents_own_level_of_confidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ScriptedServer(models=("small",), reads_plans=False)
    async with server.serving() as url:
        monkeypatch.setenv("FLIGHTLOOP_URL", url.removesuffix("/v1"))
        monkeypatch.setenv("FLIGHTLOOP_API_KEY", "fl-" + "a" * 40)
        level = RequestExtension(call_confidence=0.03)
        message = ChatMessage(role="user", content=[TextPart(text="hello")])
        async with served_model(Settings(home=tmp_path)) as played:
            await completed(played.chat.stream(ChatRequest(model="small", messages=[message], flightloop=level)))
    assert server.requests[0]["flightloop"] == {"call_confidence": 0.03}


async def test_a_named_server_is_used_as_it_is_configured(tmp_path: Path) -> None:
    async with ScriptedServer(models=("other",)).serving() as url:
        settings = Settings(home=tmp_path, model_url=url, model_reads_plans=False)
        async with served_model(settings) as played:
            assert (played.name, played.where) == ("other", f"{url} (FLIGHTLOOP_MODEL_URL)")
            assert not played.chat.capabilities.reads_plans


async def test_without_a_model_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedServer(models=()).serving() as url:
        monkeypatch.setenv("FLIGHTLOOP_URL", url.removesuffix("/v1"))
        monkeypatch.setenv("FLIGHTLOOP_API_KEY", "fl-" + "a" * 40)
        with pytest.raises(ConfigError, match="set FLIGHTLOOP_MODEL_URL, or start the platform"):
            async with served_model(Settings(home=tmp_path)):
                pass
