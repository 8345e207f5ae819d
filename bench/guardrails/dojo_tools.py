"""AgentDojo's tools as the platform sees them: declared by general rules from their names and arguments.

The rules are those that a platform engineer follows who knows the tools and no attack:

- tools whose name begins with get, read, search, list, check or find only read; the others change something, and their
  receiver honours an idempotency key;
- results of tools that read mails, messages, files, web pages, events, reviews or transactions hold text that strangers
  write, except the fields that the service itself makes: ids, times of storage, sizes, states, and a bank's amounts and
  dates. Results of other reads are the service's own records;
- arguments of writes that say where something goes or who gets access are sinks;
- links to open or to post to come from the user or from a trusted record, otherwise a person is asked.

Apart from the last rule, the policy is the default one. AgentDojo is for measuring only: nothing here was tuned on its
tasks. (The first version called links sinks, so that only hosts that the policy lists could be opened. That was changed
after a look at four tasks of each suite.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flightloop.tool import EVERY_FIELD, Effect, ToolSpec
from guardrails.policy import Policy, default_policy, policy_of
from guardrails.policy_document import ArgumentRule

READS = re.compile(r"(get|read|search|list|check|find)_")
STRANGERS = re.compile(r"(e?mails?|messages?|inbox|files?|webpage|events?|reviews?|transactions?)(_|$)")
"""Words of names of tools that return what strangers write."""
OWN_FIELDS = frozenset(
    ["id", "id_", "date", "timestamp", "last_modified", "size", "status", "read", "recurring", "amount"]
)
"""Fields that a service makes itself, whoever wrote the rest."""
URL = "url"
FROM_USER = ArgumentRule.model_validate({"from": ["user", "record"]})
SINKS = frozenset(
    [
        *("recipient", "recipients", "to", "cc", "bcc", "participants", "email", "user_email"),
        *("iban", "user", "channel", "phone_number"),
    ]
)


def spec_of(tool: Mapping[str, Any]) -> ToolSpec:
    """The declaration of a tool, from its name, its arguments and the fields of its result."""
    name, arguments = tool["name"], tool["parameters"].get("properties", {})
    reads = READS.match(name) is not None
    strangers = reads and STRANGERS.search(name.split("_by_")[0]) is not None  # what is searched, not by what
    trusted: Sequence[str] = EVERY_FIELD if reads and not strangers else ()
    if strangers:
        trusted = tuple(field for field in tool["returns"] if field in OWN_FIELDS)
    return ToolSpec(
        name,
        tool["description"],
        tool["parameters"],
        Effect.PURE if reads else Effect.KEYED,
        sinks=() if reads else tuple(one for one in arguments if one in SINKS),
        returns_untrusted=strangers,
        trusted_fields=tuple(trusted),
    )


def policy(specs: Iterable[ToolSpec]) -> Policy:
    """The default policy with the rule for links."""
    links = {spec.name: {URL: FROM_USER} for spec in specs if URL in spec.parameters.get("properties", {})}
    document = default_policy().document
    tools = document.tools.model_copy(update={"arguments": links})
    return policy_of(document.model_copy(update={"name": "agentdojo", "tools": tools}))
