"""Finds credentials. Patterns come from detect-secrets (without its entropy and keyword plugins), recompiled for
partial matching. Others, mostly newer key formats, are defined here."""

from __future__ import annotations

import re
from functools import cache

from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector

from guardrails.finders.pattern import Pattern, PatternFinder, not_after

LIBRARY = {
    "aws_key": AWSKeyDetector,
    "azure_key": AzureStorageKeyDetector,
    "discord_token": DiscordBotTokenDetector,
    "github_token": GitHubTokenDetector,
    "gitlab_token": GitLabTokenDetector,
    "mailchimp_key": MailchimpDetector,
    "pypi_token": PypiTokenDetector,
    "sendgrid_key": SendGridDetector,
    "square_token": SquareOAuthDetector,
    "stripe_key": StripeDetector,
    "telegram_token": TelegramBotTokenDetector,
}

START = not_after(r"\w-")
OWN = (
    Pattern("api_key", START + r"sk-(?:proj|svcacct|admin|ant|or|live|test)-[A-Za-z0-9_-]{16,}"),
    Pattern("api_key", START + r"sk-[A-Za-z0-9]{32,}"),
    Pattern("google_key", START + r"AIza[A-Za-z0-9_-]{35}"),
    Pattern("huggingface_token", START + r"hf_[A-Za-z0-9]{30,}"),
    Pattern("github_token", START + r"github_pat_[A-Za-z0-9_]{22,}"),
    Pattern("npm_token", START + r"npm_[A-Za-z0-9]{36}"),
    Pattern("slack_token", START + r"xox[abeoprs](?:-[A-Za-z0-9]{4,}){2,}"),
    Pattern("slack_webhook", r"https://hooks\.slack\.com/services/[A-Za-z0-9_/]{20,}", ignore_case=True),
    Pattern("stripe_key", START + r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    Pattern("jwt", START + r"eyJ[\w-]{8,}={0,2}\.[\w-]{8,}={0,2}(?:\.[\w-]*)?"),
    Pattern("password_in_url", r"://[^:/\s@]{1,64}:[^/\s@]{1,128}@"),
    # Extends to its end line, otherwise to the next key's beginning, otherwise to the end of the text.
    Pattern(
        "private_key",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----(?:BEGIN|END)))*+"
        r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
    ),
)


@cache
def secrets_finder() -> PatternFinder:
    library = [
        Pattern(
            label,
            expression.pattern,
            ignore_case=bool(expression.flags & re.IGNORECASE),
            ends_alike=expression.pattern.endswith(",}"),
        )
        for label, plugin in LIBRARY.items()
        for expression in plugin().denylist
    ]
    return PatternFinder([*library, *OWN])
