"""The messages that the model sees: instructions, the session so far, this run's turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.history import History, Turn, dump, result_text
from agent.spec import Example
from flightloop.chat import ChatMessage, FunctionCall, ToolCall, ToolDef
from flightloop.content import Content, TextPart, text_of
from flightloop.events import CallsDecided, Planned, Replied

CHARS_PER_TOKEN = 3.0
"""Cautious for English; corrected by what the model really counts."""
TOKENS_PER_MESSAGE = 8
RESULT_SHARE = 0.4
"""Of the context: a longer tool result is cut for the model (the journal keeps all of it)."""


class ContextExhausted(Exception):
    """Not even the newest turn fits the model."""


@dataclass(frozen=True)
class Exchange:
    """An earlier run of the session: what the user said, as guarded, and the final answer."""

    user: str
    answer: str


@dataclass(frozen=True)
class Prompt:
    """Messages and the characters they hold, so that nobody counts a long history twice."""

    messages: list[ChatMessage]
    characters: int

    @classmethod
    def of(cls, messages: list[ChatMessage]) -> Prompt:
        return cls(messages, sum(_size(message) for message in messages))

    @classmethod
    def asked(cls, messages: list[ChatMessage], tools: Sequence[ToolDef]) -> Prompt:
        """Of a whole request: the tools' schemas count among its characters."""
        own = cls.of(messages)
        return cls(messages, own.characters + sum(len(_schema(tool)) for tool in tools))

    @classmethod
    def joined(cls, prompts: Sequence[Prompt]) -> Prompt:
        messages = [message for prompt in prompts for message in prompt.messages]
        return cls(messages, sum(prompt.characters for prompt in prompts))


@dataclass
class Estimator:
    """Tokens of a text, by a ratio that follows the model's own counts."""

    chars_per_token: float = CHARS_PER_TOKEN

    def tokens(self, prompt: Prompt) -> int:
        return int(prompt.characters / self.chars_per_token) + TOKENS_PER_MESSAGE * len(prompt.messages)

    def learn(self, prompt: Prompt, counted: int) -> None:
        """Takes in the model's own count of a request. Never trusts more than 6 characters a token."""
        content = counted - TOKENS_PER_MESSAGE * len(prompt.messages)
        if content > 0 and prompt.characters > 200:
            self.chars_per_token = min(6.0, max(0.5, prompt.characters / content))


@dataclass
class Conversation:
    """What stays the same within a run, and how its turns become messages.

    ``user`` is the run's input as the guard let it through. ``context_length`` in tokens, None
    where the model does not tell.
    """

    instructions: str
    user: Content
    examples: Sequence[Example] = ()
    planning: bool = True
    earlier: Sequence[Exchange] = ()
    context_length: int | None = None
    estimator: Estimator = field(default_factory=Estimator)
    _turns: list[Prompt] = field(default_factory=list)

    @property
    def user_text(self) -> str:
        """All the user's own words in the session."""
        return "\n".join([*(exchange.user for exchange in self.earlier), text_of(self.user)])

    @property
    def input_text(self) -> str:
        return text_of(self.user)

    def prompt(self, history: History, tools: Sequence[ToolDef], room: int) -> Prompt:
        """The request's messages, the oldest left out so that ``room`` tokens remain for the answer.

        The tools' schemas count among its characters.

        Raises:
            ContextExhausted: nothing more can be left out.
        """
        system = Prompt.of([ChatMessage(role="system", content=[TextPart(text=self.instructions)])])
        schemas = sum(len(_schema(tool)) for tool in tools)
        shown = Prompt.of(
            [message for number, one in enumerate(self.examples) for message in self._example(number, one)]
        )
        head = Prompt([*system.messages, *shown.messages], system.characters + schemas + shown.characters)
        current = Prompt.of([ChatMessage(role="user", content=self.user)])
        old = [_exchange(exchange) for exchange in self.earlier]
        turns = self._turn_prompts(history)
        whole = Prompt.joined([head, *old, current, *turns])
        if self.context_length is None:
            return whole
        limit = self.context_length - room
        size = self.estimator.tokens(whole)
        # First the session's oldest exchanges go, then this run's oldest turns, never the newest one.
        while size > limit and (old or len(turns) > 1):
            gone = old.pop(0) if old else turns.pop(0)
            size -= self.estimator.tokens(gone)
        if size > limit:
            raise ContextExhausted(f"the newest turn needs about {size} tokens, the model takes {limit}")
        return Prompt.joined([head, *old, current, *turns])

    def _example(self, number: int, example: Example) -> list[ChatMessage]:
        names = [call.tool for call in example.calls]
        planned = [_plan(example.goal, names)] if self.planning else []
        calls = [
            ToolCall(
                id=f"example_{number}_{index}", function=FunctionCall(name=call.tool, arguments=dump(call.arguments))
            )
            for index, call in enumerate(example.calls)
        ]
        turns: list[ChatMessage] = []
        for call, made in zip(example.calls, calls, strict=True):
            turns += [ChatMessage(role="assistant", tool_calls=[made]), _result(made, dump(call.result))]
        return [_message("user", example.user), *planned, *turns, _message("assistant", example.answer)]

    def shrink(self, prompt: Prompt) -> None:
        """The model said that ``prompt`` is too long: count more for the same text from now on."""
        if self.context_length is None:
            self.context_length = self.estimator.tokens(prompt)
        self.estimator.chars_per_token *= 0.8

    def _turn_prompts(self, history: History) -> list[Prompt]:
        # Finished turns never change, so each is made once.
        limit = None if self.context_length is None else int(self.context_length * RESULT_SHARE * CHARS_PER_TOKEN)
        for turn in history.turns[len(self._turns) :]:
            made = Prompt.of(_turn(turn, limit))
            if turn.open:
                return [*self._turns, made]
            self._turns.append(made)
        return list(self._turns)


def _exchange(exchange: Exchange) -> Prompt:
    answer = [_message("assistant", exchange.answer)] if exchange.answer else []
    return Prompt.of([_message("user", exchange.user), *answer])


def _turn(turn: Turn, limit: int | None) -> list[ChatMessage]:
    match turn.decision:
        case Planned() as plan:
            return [_plan(plan.goal, plan.tools)]
        case Replied() as reply:
            return [_message("assistant", reply.text)]
        case CallsDecided() as decided if decided.calls:
            asked = ChatMessage(role="assistant", content=_parts(decided.text), tool_calls=decided.calls)
            answers = [
                _result(state.call, _cut(result_text(state.result) if state.result else "error: no result", limit))
                for state in turn.calls
            ]
            return [asked, *answers]
        case CallsDecided() as unusable:
            observation = _message("user", f"That answer could not be used: {unusable.problem}. Try again.")
            return [_message("assistant", unusable.text), observation] if unusable.text else [observation]


def _plan(goal: str, tools: Sequence[str]) -> ChatMessage:
    return _message("assistant", dump({"goal": goal, "tools": list(tools)})).model_copy(update={"name": "plan"})


def _result(call: ToolCall, text: str) -> ChatMessage:
    return ChatMessage(role="tool", tool_call_id=call.id, name=call.function.name, content=_parts(text))


def _message(role: str, text: str) -> ChatMessage:
    return ChatMessage.model_validate({"role": role, "content": _parts(text)})


def _parts(text: str) -> list[TextPart]:
    return [TextPart(text=text)] if text else []


def _cut(text: str, limit: int | None) -> str:
    if limit is None or len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit} more characters)"


def _size(message: ChatMessage) -> int:
    calls = sum(len(call.function.name) + len(call.function.arguments) + 16 for call in message.tool_calls or [])
    others = sum(1500 for part in message.content if not isinstance(part, TextPart))
    return len(message.text) + calls + others


def _schema(tool: ToolDef) -> str:
    return tool.function.name + tool.function.description + dump(tool.function.parameters)
