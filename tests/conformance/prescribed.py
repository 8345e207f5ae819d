"""Tools, resources and prompts that the MCP conformance suite prescribes, on flightloop's own MCP server."""

from __future__ import annotations

import base64
import io
import json
import wave
from collections.abc import Callable
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import (
    AudioContent,
    ContentBlock,
    ElicitResult,
    EmbeddedResource,
    GetPromptResult,
    ImageContent,
    InputRequiredResult,
    Prompt,
    Resource,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, Field

from agent.mcp_server.access import ClientOf
from agent.mcp_server.client_log import log
from agent.mcp_server.server import FlightloopServer
from tests.conformance.prescribed_inputs import add_inputs

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
DIALECT = "https://json-schema.org/draft/2020-12/schema"
STREET_AND_CITY = {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}


class PrescribedServer(FlightloopServer):
    """What is registered is served beside what flightloop makes of the API's agents and runs."""

    def __init__(self, client_of: ClientOf) -> None:
        super().__init__(client_of)
        add_contents(self)
        add_calls_back(self)
        add_resources(self)
        add_prompts(self)
        add_inputs(self)

    async def list_resources(self) -> list[Resource]:
        return [*await MCPServer.list_resources(self), *await super().list_resources()]

    async def list_prompts(self) -> list[Prompt]:
        return [*await MCPServer.list_prompts(self), *await super().list_prompts()]

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Any, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        if name.startswith("test_"):
            return await MCPServer.get_prompt(self, name, arguments, context)
        return await super().get_prompt(name, arguments, context)


def text(said: str) -> TextContent:
    return TextContent(type="text", text=said)


def image() -> ImageContent:
    return ImageContent(type="image", data=PNG, mime_type="image/png")


def audio() -> AudioContent:
    written = io.BytesIO()
    with wave.open(written, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0")
    return AudioContent(type="audio", data=base64.b64encode(written.getvalue()).decode(), mime_type="audio/wav")


def resource(uri: str, said: str, kind: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, text=said, mime_type=kind))


def returning(blocks: list[ContentBlock]) -> Callable[[], list[ContentBlock]]:
    return lambda: blocks


def add_contents(server: MCPServer[Any]) -> None:
    contents: dict[str, list[ContentBlock]] = {
        "test_simple_text": [text("This is a simple text response for testing.")],
        "test_image_content": [image()],
        "test_audio_content": [audio()],
        "test_embedded_resource": [resource("test://embedded-resource", "This is an embedded resource content.")],
        "test_multiple_content_types": [
            text("Multiple content types test:"),
            image(),
            resource("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
        ],
    }
    for name, blocks in contents.items():
        server.add_tool(returning(blocks), name=name, description="Returns contents.", structured_output=False)

    @server.tool()
    def test_error_handling() -> str:
        """Always fails."""
        raise ToolError("This tool intentionally returns an error for testing")

    @server.tool()
    def json_schema_2020_12_tool(name: str = "", address: Any = None) -> str:
        """Has a schema with keywords of JSON Schema 2020-12."""
        return f"{name} {address}"

    (tool,) = (tool for tool in server._tool_manager.list_tools() if tool.name == "json_schema_2020_12_tool")
    tool.parameters = {
        "$schema": DIALECT,
        "type": "object",
        "$defs": {"address": {"$anchor": "address", **STREET_AND_CITY}},
        "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
        "allOf": [{"anyOf": [{"required": ["name"]}, {"required": ["address"]}]}],
        "if": {"required": ["address"]},
        "then": {"properties": {"name": {"minLength": 1}}},
        "else": {"required": ["name"]},
        "additionalProperties": False,
    }


class User(BaseModel):
    username: Annotated[str, Field(description="User's response")]
    email: Annotated[str, Field(description="User's email address")]


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


PLAIN = {"type": "string", "enum": ["option1", "option2", "option3"]}
TITLED = [{"const": "value1", "title": "First Option"}, {"const": "value2", "title": "Second Option"}]
LEGACY = {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]}
ENUMS = {
    "type": "object",
    "properties": {
        "untitledSingle": PLAIN,
        "titledSingle": {"type": "string", "oneOf": TITLED},
        "legacyEnum": LEGACY,
        "untitledMulti": {"type": "array", "items": PLAIN},
        "titledMulti": {"type": "array", "items": {"anyOf": TITLED}},
    },
}


def add_calls_back(server: MCPServer[Any]) -> None:
    """Tools that tell or ask the client something while they work."""

    @server.tool()
    async def test_tool_with_logging(context: Context) -> str:
        """Sends log messages."""
        for said in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await log(context, "info", "test", said)
        return "logged"

    @server.tool()
    async def test_tool_with_progress(context: Context) -> str:
        """Reports progress."""
        for done in (0, 50, 100):
            await context.report_progress(done, 100)
        return "done"

    @server.tool()
    async def test_elicitation(message: str, context: Context) -> str:
        """Asks the user for something."""
        answer = await context.elicit(message, User)
        return f"User response: {answer.action}, content: {getattr(answer, 'data', None)}"

    @server.tool()
    async def test_elicitation_sep1034_defaults(context: Context) -> str:
        """Asks with values that are preset."""
        answer = await context.elicit("What is true?", Defaults)
        return f"Elicitation completed: action={answer.action}, content={getattr(answer, 'data', None)}"

    @server.tool()
    async def test_elicitation_sep1330_enums(context: Context) -> str:
        """Asks for choices."""
        answer: ElicitResult = await context.session.elicit_form("Which ones?", ENUMS, context.request_id)
        return f"Elicitation completed: action={answer.action}, content={json.dumps(answer.content)}"


def add_resources(server: MCPServer[Any]) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """An image."""
        return base64.b64decode(PNG)

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:
        """Data with an id."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def add_prompts(server: MCPServer[Any]) -> None:
    @server.prompt()
    def test_simple_prompt() -> str:
        """Has no arguments."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """Has two arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[Any]:
        """Holds a resource."""
        return [
            resource(resourceUri, "Embedded resource content for testing."),
            "Please process the embedded resource above.",
        ]

    @server.prompt()
    def test_prompt_with_image() -> list[Any]:
        """Holds an image."""
        return [image(), "Please analyze the image above."]
