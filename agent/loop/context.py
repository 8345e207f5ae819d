"""Prompts for the model: instructions, earlier runs of the session, turns of this run.

Prompts are derived from the journal alone, so a worker that takes over a run builds the same prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.attachments.shown import own_words, tables_in
from agent.loop.confirmation import NOTHING, Proposal
from agent.loop.local_time import LocalTime
from agent.loop.named_rows import has_text, named_first
from agent.loop.refusal import NOTHING_READ, UNSURE
from agent.loop.tool_results import is_dropped
from agent.model_call.repetition import REPEATED
from agent.project.agent_spec import Example
from agent.run.history import CallState, History, Turn, dump, result_text
from flightloop.chat import ChatMessage, FunctionCall, ToolCall, ToolDef
from flightloop.content import Content, ImagePart, Part, TextPart, text_of
from flightloop.events import CallsDecided, ContextCompacted, Planned, Replied
from guardrails.rails.claims import CORRECTION
from guardrails.types import Trail, Utterance
from tools.vision.measures import Measures

CHARS_PER_TOKEN = 3.0
"""Initial estimate, low for English; replaced by a ratio from the model's own token counts."""
TOKENS_PER_MESSAGE = 8
RESULT_SHARE = 0.4
"""Longest tool result as a share of the context. Longer ones are cut in prompts, but stored in full in the journal."""
RECALL = "recall"
"""Pseudo tool whose result is the digest: it is as untrusted as the tool results that it quotes."""


@dataclass(frozen=True)
class Exchange:
    """An earlier run of the session: the user's input as the guard passed it, and the final answer."""

    user: str
    answer: str
    run_id: str = ""
    attached: tuple[Part, ...] = ()
    """Readings of the input's images as text, or the images themselves for a model that sees."""
    tainted: bool = False
    """Whether what is attached taints the runs that read it."""
    measures: tuple[Measures, ...] = ()
    """Numbers of the input's charts and tables."""
    began: LocalTime | None = None
    after: str = ""
    """The answer that the user had read last when writing; empty if unknown, or if its sources are."""
    agent: str = ""
    """Whose run it was. Another agent's policy may have let more pass."""


@dataclass(frozen=True)
class Prompt:
    """Messages and their total length in characters, which is stored so that a long history is measured only once."""

    messages: list[ChatMessage]
    characters: int

    @classmethod
    def of(cls, messages: list[ChatMessage]) -> Prompt:
        return cls(messages, sum(_size(message) for message in messages))

    @classmethod
    def asked(cls, messages: list[ChatMessage], tools: Sequence[ToolDef]) -> Prompt:
        """Prompt of a whole request; its characters include the tools' schemas."""
        own = cls.of(messages)
        return cls(messages, own.characters + sum(len(_schema(tool)) for tool in tools))

    @classmethod
    def joined(cls, prompts: Sequence[Prompt]) -> Prompt:
        messages = [message for prompt in prompts for message in prompt.messages]
        return cls(messages, sum(prompt.characters for prompt in prompts))


@dataclass(frozen=True)
class Estimator:
    """Estimates the tokens of a prompt from its characters."""

    counted: float | None = None  # characters per token by the model's own counts; None: no count yet

    @property
    def chars_per_token(self) -> float:
        return self.counted or CHARS_PER_TOKEN

    def tokens(self, prompt: Prompt) -> int:
        return self.of(prompt.characters, len(prompt.messages))

    def of(self, characters: int, messages: int) -> int:
        return int(characters / self.chars_per_token) + TOKENS_PER_MESSAGE * messages

    def learned(self, prompt: Prompt, tokens: int) -> Estimator:
        """Estimator with the ratio of a prompt whose ``tokens`` the model counted, 0.5 to 6 characters per token."""
        content = tokens - TOKENS_PER_MESSAGE * len(prompt.messages)
        if content > 0 and prompt.characters > 200:
            return Estimator(round(min(6.0, max(0.5, prompt.characters / content)), 3))
        return self


@dataclass
class Conversation:
    """Builds the prompts of one run: the fixed parts, and messages for its turns."""

    instructions: str
    user: Content
    """Input of the run, after redaction by the guard. Without images, unless the model sees."""
    readings: tuple[str, ...] = ()
    """Texts of what was read in the input's images, which come from strangers; after redaction by the guard."""
    measures: tuple[Measures, ...] = ()
    """Numbers of all charts and tables of the session, facts about the run's answers."""
    examples: Sequence[Example] = ()
    planning: bool = True
    earlier: Sequence[Exchange] = ()
    """All earlier runs of the session, compacted or not."""
    began: LocalTime | None = None
    """When the run was created; None: unknown."""
    after: str = ""
    """As in ``Exchange``, of the run's own input."""
    context_length: int | None = None
    """Context length in tokens; None: the model does not report it."""
    trail: Trail = field(default_factory=Trail)
    """What the models of the session's other runs read and wrote."""
    proposal: Proposal = NOTHING
    """What the session's last run asked the user to agree to."""
    tainted: bool = False
    """Whether an image of the session, or what an earlier run of it has read, taints the run."""
    texts: tuple[str, ...] = ()
    """Texts of the session up to the run's own input, before redaction; only where placeholders need them."""
    _head: tuple[Sequence[ToolDef], Prompt] | None = field(default=None, init=False, repr=False, compare=False)
    _turns: list[Prompt] = field(default_factory=list)
    _made_for: tuple[ContextCompacted | None, int | None] = (None, None)

    @property
    def user_text(self) -> str:
        """All texts that the user wrote in the session, without tables."""
        return "\n".join([*(own_words(exchange.user) for exchange in self.earlier), self.words])

    @property
    def words(self) -> str:
        """The user's latest message, without tables."""
        return own_words(self.input_text)

    @property
    def messages(self) -> tuple[str, ...]:
        """The user's messages in the session, newest first, without tables."""
        return (self.words, *(own_words(exchange.user) for exchange in reversed(self.earlier)))

    @property
    def said(self) -> tuple[Utterance, ...]:
        """The user's messages in the session, each with the answer before it; without those of an unknown time."""
        words = [(own_words(each.user), each.began, each.after, each.run_id) for each in self.earlier]
        words.append((self.words, self.began, self.after, ""))
        return tuple(
            Utterance(text, one.at, after, one.zoned, run) for text, one, after, run in words if one is not None
        )

    @property
    def evidence(self) -> tuple[str, ...]:
        """Texts of all readings and tables in the session, oldest first."""
        earlier = (
            text for one in self.earlier for text in (*(text_of([part]) for part in one.attached), *tables_in(one.user))
        )
        return (*earlier, *self.readings, *self.tables)

    @property
    def shows_images(self) -> bool:
        """Whether the model sees images of the session, in which it may read more than was found."""
        parts = (*self.user, *(part for one in self.earlier for part in one.attached))
        return any(isinstance(part, ImagePart) for part in parts)

    @property
    def tables(self) -> list[str]:
        """The tables of the run's own input, as text."""
        return tables_in(self.input_text)

    @property
    def input_text(self) -> str:
        """Input of the run as the model reads it, with its tables."""
        return text_of(self.user)

    def limit(self, history: History) -> int | None:
        """Maximum tokens of prompt and answer together; None: unknown so far."""
        found = history.compacted
        return self.context_length or (found.limit if found else None)

    def prompt(self, history: History, tools: Sequence[ToolDef]) -> Prompt:
        """Messages of the next request: the latest digest and everything after it.

        The characters include the tools' schemas.
        """
        digest = [digested(history.compacted)] if history.compacted else []
        old = [prompt for _, prompt in self.exchanges(history)]
        turns = self.turns(history, self.limit(history))
        return Prompt.joined([self.head(tools), *old, self.current, *digest, *turns])

    def head(self, tools: Sequence[ToolDef]) -> Prompt:
        """The fixed beginning: instructions and examples. Its characters include the tools' schemas."""
        if self._head is None or self._head[0] != tools:  # the tools seldom change
            self._head = (tools, self._made_head(tools))
        return self._head[1]

    def _made_head(self, tools: Sequence[ToolDef]) -> Prompt:
        system = ChatMessage(role="system", content=[TextPart(text=self.instructions)])
        shown = [message for number, one in enumerate(self.examples) for message in self._example(number, one)]
        made = Prompt.of([system, *shown])
        return Prompt(made.messages, made.characters + sum(len(_schema(tool)) for tool in tools))

    @property
    def fixed_texts(self) -> list[str]:
        """The texts of the fixed beginning."""
        messages = self._made_head(()).messages
        return [text for one in messages for text in (one.text, *(c.function.arguments for c in one.tool_calls or ()))]

    @property
    def current(self) -> Prompt:
        read = [TextPart(text=text) for text in self.readings]
        return Prompt.of([ChatMessage(role="user", content=[*self.user, *read])])

    def exchanges(self, history: History) -> list[tuple[Exchange, Prompt]]:
        """Earlier runs of the session that are still in the prompt, oldest first."""
        covered = history.compacted.runs if history.compacted else []
        return [(one, _exchange(one)) for one in self.earlier if one.run_id not in covered]

    def turns(self, history: History, limit: int | None) -> list[Prompt]:
        """This run's turns that are still in the prompt, oldest first; long results are cut for ``limit``."""
        # Finished turns don't change until a compaction, so each is converted once.
        if self._made_for != (history.compacted, limit):
            self._made_for, self._turns = (history.compacted, limit), []
        longest = None if limit is None else int(limit * RESULT_SHARE * CHARS_PER_TOKEN)
        for turn in history.kept[len(self._turns) :]:
            made = Prompt.of(_turn(turn, longest, self.messages))
            if turn.open:
                return [*self._turns, made]
            self._turns.append(made)
        return list(self._turns)

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


def answer_room(limit: int | None, wanted: int) -> int:
    """Tokens available for an answer: ``wanted``, but at most half of the context."""
    return wanted if limit is None else max(1, min(wanted, limit // 2))


def digested(compacted: ContextCompacted) -> Prompt:
    """Messages that contain a digest; none if it is empty."""
    if not compacted.digest:
        return Prompt([], 0)
    left_out = [f"({compacted.left_out} older lines are left out)"] if compacted.left_out else []
    text = "\n".join(["What came before, in short:", *left_out, *compacted.digest])
    call = ToolCall(id=RECALL, function=FunctionCall(name=RECALL, arguments="{}"))
    return Prompt.of([ChatMessage(role="assistant", tool_calls=[call]), _result(call, text)])


def _exchange(exchange: Exchange) -> Prompt:
    answer = [_message("assistant", exchange.answer)] if exchange.answer else []
    asked = ChatMessage(role="user", content=[*_parts(exchange.user), *exchange.attached])
    return Prompt.of([asked, *answer])


def _turn(turn: Turn, limit: int | None, said: Sequence[str]) -> list[ChatMessage]:
    match turn.decision:
        case Planned() as plan:
            return [_plan(plan.goal, plan.tools)]
        case Replied() as reply:
            return [_message("assistant", reply.text)]
        case CallsDecided() as decided if decided.calls:
            shown = [state for state in turn.calls if not is_dropped(state.result)]
            if not shown:  # what is looked up next stands in their place
                return []
            calls = [state.call for state in shown]
            asked = ChatMessage(role="assistant", content=_parts(decided.text), tool_calls=calls)
            answers = [_result(state.call, _cut(_shown(state, said), limit)) for state in shown]
            return [asked, *answers]
        case CallsDecided(problem=str(problem)) if problem.startswith((REPEATED, NOTHING_READ, UNSURE)):
            return []  # the next answer has a penalty, or is a call; a model that reads of it talks of it to the user
        case CallsDecided() as unusable:
            observation = _message("user", f"{CORRECTION} {unusable.problem}. Try again.")
            return [_message("assistant", unusable.text), observation] if unusable.text else [observation]


def _shown(state: CallState, said: Sequence[str]) -> str:
    if state.result is None:
        return "error: no result"
    if has_text(state.call.function.arguments):
        return result_text(state.result)  # a search has ranked what it found
    return result_text(state.result.model_copy(update={"content": named_first(state.result.content, said)}))


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
