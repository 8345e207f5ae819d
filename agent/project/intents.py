"""Customer intents of a project, and their classification by a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flightloop.chat import ChatMessage, ChatRequest, JsonSchemaFormat, ResponseFormat
from flightloop.content import TextPart
from flightloop.errors import ConfigError
from observability.bounded_yaml import YamlProblem, read_yaml

FILE = "intents.yaml"
ANSWER_TOKENS = 32


@dataclass(frozen=True)
class Intents:
    """Intents of a project: a one-line description by name."""

    about: Mapping[str, str]

    @classmethod
    def read(cls, project: Path) -> Intents:
        """Reads ``intents.yaml``. Raises ConfigError if it is missing or not a mapping of names to descriptions."""
        path = project / FILE
        try:
            about = read_yaml(path)
        except YamlProblem as problem:
            raise ConfigError(f"{path}{problem.place}: cannot be read: {problem}") from problem
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from error
        if not isinstance(about, dict) or not all(isinstance(line, str) for line in about.values()):
            raise ConfigError(f"{path}: must map each intent's name to a one-line description")
        return cls(about)

    def request(self, message: str, model: str) -> ChatRequest:
        """A chat request whose answer must be one of the names."""
        lines = [f"- {name}: {about}" for name, about in self.about.items()]
        system = "\n".join(["What does the customer want? Intents:", *lines])
        schema = {
            "type": "object",
            "properties": {"intent": {"type": "string", "enum": list(self.about)}},
            "required": ["intent"],
            "additionalProperties": False,
        }
        return ChatRequest(
            model=model,
            messages=[_message("system", system), _message("user", message)],
            response_format=ResponseFormat(
                type="json_schema", json_schema=JsonSchemaFormat(name="intent", schema=schema, strict=True)
            ),
            max_tokens=ANSWER_TOKENS,
            temperature=0,
        )

    def answer(self, intent: str) -> str:
        """The expected answer for an intent."""
        return json.dumps({"intent": intent})

    def named(self, answer: str) -> str | None:
        """The intent that an answer names; None if the answer is invalid."""
        try:
            name = json.loads(answer)["intent"]
        except (ValueError, KeyError, TypeError):
            return None
        return name if isinstance(name, str) and name in self.about else None


def _message(role: str, text: str) -> ChatMessage:
    return ChatMessage.model_validate({"role": role, "content": [TextPart(text=text)]})
