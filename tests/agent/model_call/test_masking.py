"""What a masked request tells the model."""

from __future__ import annotations

import pytest

from agent.model_call.masking import INSTRUCTION, Masking
from flightloop.answer import Answer
from flightloop.chat import ChatMessage, ChatRequest, FunctionCall, FunctionDef, RequestExtension, ToolCall, ToolDef
from flightloop.content import ImagePart, ImageUrl, TextPart
from flightloop.errors import UnsupportedContent
from guardrails.placeholder_policy import PlaceholderPolicy
from guardrails.placeholders.register import Register
from model.chat.compact import call_text
from model.engine.grammar import grammar_for
from tests.model.test_grammar import accepts, tool

ADA = "ada@example.org"
POLICY = PlaceholderPolicy(kinds=("email",), tools={"send": ("to",)})


def asked(text: str = f"I am {ADA}.", **fields: object) -> ChatRequest:
    return ChatRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": text}], **fields})


def masked(request: ChatRequest) -> ChatRequest:
    return Masking(Register(POLICY), request).request(request)


def test_the_model_is_told_what_marks_are() -> None:
    first, user = masked(asked()).messages
    assert (first.role, first.text) == ("system", INSTRUCTION)
    assert user.text == "I am [EMAIL_1]."


def test_names_of_parameters_and_keywords_are_no_texts() -> None:
    properties = {
        "to": {"type": ["string", "null"], "pattern": "@", "enum": [ADA], "description": f"Like {ADA}"},
        "description": {"type": "string", "maxLength": 5},
    }
    tool = ToolDef(function=FunctionDef(name="send", parameters={"type": "object", "properties": properties}))
    (given,) = masked(asked().model_copy(update={"tools": [tool]})).tools or ()
    assert given.function.parameters["properties"] == {
        "to": {"type": ["string", "null"], "enum": ["[EMAIL_A]"], "description": "Like [EMAIL_A]"},
        "description": {"type": "string", "maxLength": 5},
    }


def test_texts_of_keywords_that_nobody_knows_are_hidden() -> None:
    parameters = {
        "type": "object",
        "$comment": f"Ask {ADA}",
        "properties": {
            "to": {"type": "string", "example": ADA, "x-owner": [{"type": ADA}], "maximum": 4111111111111111},
            "cc": {"type": "array", "items": {"anyOf": [{"type": "string", "errorMessage": ADA}]}},
        },
        "required": ["to"],
    }
    tool = ToolDef(function=FunctionDef(name="send", parameters=parameters))
    (given,) = masked(asked().model_copy(update={"tools": [tool]})).tools or ()
    assert ADA not in given.model_dump_json()
    assert given.function.parameters["properties"]["to"]["maximum"] == 4111111111111111
    assert given.function.parameters["required"] == ["to"]


def test_openings_and_earlier_calls_are_hidden() -> None:
    call = ToolCall(id="c", function=FunctionCall(name="send", arguments=f'{{"to": "{ADA}"}}'))
    request = asked(flightloop=RequestExtension(opening=f"To {ADA}", never=[ADA]))
    request.messages.append(ChatMessage(role="assistant", tool_calls=[call]))
    assert ADA not in masked(request).model_dump_json()


def test_an_image_is_refused() -> None:
    image = ImagePart(image_url=ImageUrl(url="data:image/png;base64,AAAA"))
    request = asked().model_copy(update={"messages": [ChatMessage(role="user", content=[TextPart(text="?"), image])]})
    with pytest.raises(UnsupportedContent, match="a model that does not see"):
        masked(request)


def test_what_only_one_request_has_is_forgotten() -> None:
    register = Register(POLICY)
    for _ in range(2):
        sent = Masking(register, asked()).request(asked())
        assert sent.messages[-1].text == "I am [EMAIL_1]."
    assert register.filled("[EMAIL_1]") == "[EMAIL_1]"


def test_a_call_that_is_no_object_stays_as_it_is() -> None:
    answer, request = Answer(), asked()
    answer.calls = [ToolCall(id="c", function=FunctionCall(name="send", arguments='{"to": "[EMAIL_1]'))]
    masking = Masking(Register(POLICY), request)
    masking.request(request)
    masking.finish(answer)
    assert answer.calls[0].function.arguments == '{"to": "[EMAIL_1]'


def test_the_grammar_of_a_call_admits_placeholders_where_they_may_stand() -> None:
    own = {"to": {"type": "string", "format": "email"}, "other": {"type": "string", "pattern": "^[a-z]+$"}}
    schema = {"type": "object", "properties": own, "required": ["to"], "additionalProperties": False}
    request = asked(tools=[tool("send", schema)], tool_choice="required")
    before, after = grammar_for(request), grammar_for(masked(request))
    assert before is not None
    assert after is not None
    call = call_text([("send", {"to": "[EMAIL_1]"})])
    assert (accepts(before, call), accepts(after, call)) == (False, True)
    assert not accepts(after, call_text([("send", {"to": "[EMAIL_1]", "other": "[EMAIL_1]"})]))
