"""The built-in agent that describes charts, tables and texts (``POST /v1/predictions``).

A project replaces it by an agent named ``predict``. Its policy adds to the project's default policy that sentences
which the data don't support are removed.
"""

from __future__ import annotations

from functools import cache

from agent.project.agent_spec import AgentSpec, Limits
from flightloop.predictions import PREDICT
from guardrails.policy import Policy, parse_policy

_POLICY = """
name: predict
version: "1"
description: Answers about charts and tables. Sentences that the data don't support are removed.
streaming: held
stages:
  final:
    rails:
      - normalise
      - secrets
      - pii
      - links
      - rail: content
        block_at: 0.98
      - rail: groundedness
        action: redact
        otherwise: ""  # the platform describes the data
tools:
  allow: {}
"""

PREDICTOR = AgentSpec(
    name=PREDICT,
    description="Describes charts, tables and texts in images, and answers questions about them.",
    instructions=(
        "You describe charts and tables. The user's message has the data, as the platform has read them, and the key"
        " points that were computed from them.\n"
        "Answer the user's question first, in one sentence. Then say what the data show, in two or three short"
        " sentences. Copy names and numbers exactly as they are given, and use no other numbers. Write plain sentences,"
        " without lists."
    ),
    policy=PREDICT,
    planning=False,
    max_tokens=200,
    budget=Limits(steps=4, tokens=40_000, seconds=120.0),
)


@cache
def predict_policy() -> Policy:
    return parse_policy(_POLICY, "the policy of the agent predict")
