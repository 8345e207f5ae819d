"""Downloads from the Hugging Face hub, into the hub library's own cache.

The library's settings apply: ``HF_HOME``, ``HF_TOKEN``, ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx

TIMEOUT_S = 3.0
"""Time for the hub to answer."""
_CHECKPOINT = ["*.json", "*.safetensors", "*.jinja"]


class HubUnavailable(Exception):
    """The hub doesn't answer, lacks the file, or the library is offline and the cache lacks it."""


def hub_file(repository: str, file: str) -> Path:
    """Path of one file of a repository. Raises HubUnavailable."""
    import huggingface_hub as hub  # takes half a second

    def fetch(local: bool) -> str:
        return hub.hf_hub_download(repository, file, local_files_only=local, etag_timeout=TIMEOUT_S)

    return _cached_or_fetched(fetch, repository, file)


def hub_checkpoint(repository: str) -> Path:
    """Folder with a repository's checkpoint: config, safetensors and tokenizer. Raises HubUnavailable."""
    import huggingface_hub as hub

    def fetch(local: bool) -> str:
        return hub.snapshot_download(
            repository, allow_patterns=_CHECKPOINT, local_files_only=local, etag_timeout=TIMEOUT_S
        )

    return _cached_or_fetched(fetch, repository, "config.json")


def _cached_or_fetched(fetch: Callable[[bool], str], repository: str, file: str) -> Path:
    import huggingface_hub as hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        try:
            return Path(fetch(True))
        except LocalEntryNotFoundError:
            if hub.constants.HF_HUB_OFFLINE:
                raise
            # The library itself tries an address that doesn't answer six times, which takes half a minute.
            httpx.head(hub.hf_hub_url(repository, file), timeout=TIMEOUT_S)
            return Path(fetch(False))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, httpx.HTTPError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise HubUnavailable(f"the Hugging Face hub: {reason}") from error
