"""Keys and tokens in any text, by the patterns of detect-secrets, line by line."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from detect_secrets.plugins.artifactory import ArtifactoryDetector
from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.basic_auth import BasicAuthDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.jwt import JwtTokenDetector
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.npm import NpmDetector
from detect_secrets.plugins.openai import OpenAIDetector
from detect_secrets.plugins.private_key import PrivateKeyDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector
from detect_secrets.plugins.twilio import TwilioKeyDetector

from tools.codescan.limits import Budget

PLUGINS = (
    ArtifactoryDetector, AWSKeyDetector, AzureStorageKeyDetector, BasicAuthDetector, DiscordBotTokenDetector,
    GitHubTokenDetector, GitLabTokenDetector, JwtTokenDetector, MailchimpDetector, NpmDetector, OpenAIDetector,
    PrivateKeyDetector, PypiTokenDetector, SendGridDetector, SlackDetector, SquareOAuthDetector, StripeDetector,
    TelegramBotTokenDetector, TwilioKeyDetector,
)  # fmt: skip
_BUILT = re.compile(r"://[^/\s'\"]*[{$%+<]")
"""An address whose user and password are put in at run time."""


@cache
def _plugins() -> tuple[Any, ...]:
    return tuple(plugin() for plugin in PLUGINS)


def lines_with_secrets(lines: list[str], budget: Budget) -> list[tuple[int, str]]:
    """Pairs of a line's number and the kind of the secret in it. Long lines are skipped."""
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or len(line) > budget.limits.line_characters:
            continue
        budget.check_time()
        for plugin in _plugins():
            if any(True for _ in plugin.analyze_string(line)) and not (
                plugin.secret_type == BasicAuthDetector.secret_type and _BUILT.search(line)
            ):
                found.append((number, str(plugin.secret_type)))
                break
    return found
