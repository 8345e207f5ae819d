// OpenAI's client for Node.

import OpenAI from "openai";
import { zodFunction, zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import * as c from "./checks.mjs";
import { KEY, MODEL, URL, alike, check, raised, run, scripted } from "./checks.mjs";

const client = new OpenAI({ baseURL: URL, apiKey: KEY });
const parameters = {
  type: "object",
  properties: { a: { type: "integer" }, b: { type: "integer" } },
  required: ["a", "b"],
  additionalProperties: false,
};
const tool = { type: "function", function: { name: "add", description: "Adds two.", parameters } };
const flat = { type: "function", name: "add", description: "Adds two.", parameters, strict: true };
const Person = z.object({
  name: z.string(),
  age: z.number().int(),
  address: z.object({ city: z.string(), country: z.string() }),
});
const Shape = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("circle"), radius: z.number() }),
  z.object({ kind: z.literal("square"), side: z.number() }),
]);
const user = (content) => [{ role: "user", content }];
const asked = (text, more = {}) => client.chat.completions.create({ model: MODEL, messages: user(text), ...more });
const isPair = (text) => Object.keys(JSON.parse(text)).sort().join() === "a,b";

check("completion", async () => {
  const answer = await asked(c.HELLO);
  const { message, finish_reason } = answer.choices[0];
  return [message, finish_reason === "stop" && answer.usage.total_tokens > 0 && alike(message.content, c.SAID_HELLO)];
});
check("stream", async () => {
  let text = "", end;
  for await (const chunk of await asked(c.HELLO, { stream: true })) {
    text += chunk.choices[0].delta.content ?? "";
    end = chunk.choices[0].finish_reason ?? end;
  }
  return [text, end === "stop" && alike(text, c.SAID_HELLO)];
});
check("stream_usage", async () => {
  let last;
  for await (const chunk of await asked(c.HELLO, { stream: true, stream_options: { include_usage: true } })) last = chunk;
  return [last.usage, last.usage.total_tokens > 0];
});
check("stream_helper", async () => {
  const stream = client.chat.completions.stream({ model: MODEL, messages: user(c.HELLO) });
  let text = "";
  stream.on("content", (delta) => (text += delta));
  const final = await stream.finalContent();
  return [text, text === final && alike(final, c.SAID_HELLO)];
});
check("tool", async () => {
  const { message, finish_reason } = (await asked(c.ADD, { tools: [tool] })).choices[0];
  return [message.tool_calls, finish_reason === "tool_calls" && isPair(message.tool_calls[0].function.arguments)];
});
check("tool_result", async () => {
  const { message } = (await asked(c.ADD, { tools: [tool] })).choices[0];
  const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "5" };
  const messages = [...user(c.ADD), message, result];
  const text = (await client.chat.completions.create({ model: MODEL, messages, tools: [tool] })).choices[0].message.content;
  return [text, alike(text, c.SAID_SUM)];
});
check("run_tools", async () => {
  const made = [];
  const add = zodFunction({
    name: "add",
    parameters: z.object({ a: z.number().int(), b: z.number().int() }),
    function: ({ a, b }) => (made.push([a, b]), String(a + b)),
  });
  const runner = client.chat.completions.runTools({ model: MODEL, messages: user(c.ADD), tools: [add] });
  const text = await runner.finalContent();
  return [[made, text], made.length > 0 && alike(text, c.SAID_SUM)];
});
scripted("parallel_tools", async () => {
  const calls = (await asked(c.ADD_TWICE, { tools: [tool] })).choices[0].message.tool_calls;
  return [calls, calls.map((call) => JSON.parse(call.function.arguments).a).join() === "2,4"];
});
scripted("parallel_tools_stream", async () => {
  const stream = client.chat.completions.stream({ model: MODEL, messages: user(c.ADD_TWICE), tools: [tool] });
  const calls = (await stream.finalMessage()).tool_calls;
  return [calls, calls.map((call) => JSON.parse(call.function.arguments).b).join() === "3,5"];
});
check("structured_parse", async () => {
  const response_format = zodResponseFormat(Person, "person");
  const completion = await client.chat.completions.parse({ model: MODEL, messages: user(c.PERSON), response_format });
  return [completion.choices[0].message.parsed, typeof completion.choices[0].message.parsed.address.city === "string"];
});
check("structured_union", async () => {
  const response_format = zodResponseFormat(z.object({ shape: Shape }), "drawing");
  const completion = await client.chat.completions.parse({ model: MODEL, messages: user(c.CIRCLE), response_format });
  return [completion.choices[0].message.parsed, completion.choices[0].message.parsed.shape.kind === "circle"];
});
check("choices", async () => {
  const { choices } = await asked(c.HELLO, { n: 2 });
  return [choices, choices.map((choice) => choice.index).join() === "0,1"];
});
check("with_response", async () => {
  const { data, response, request_id } = await asked(c.HELLO).withResponse();
  return [request_id, Boolean(request_id) && response.ok && alike(data.choices[0].message.content, c.SAID_HELLO)];
});
check("models_list", async () => {
  const ids = [];
  for await (const card of client.models.list()) ids.push(card.id);
  return [ids, ids.includes(MODEL)];
});
check("models_retrieve", async () => {
  const card = await client.models.retrieve(MODEL);
  return [card, card.id === MODEL];
});
check("responses", async () => {
  const answer = await client.responses.create({ model: MODEL, input: c.HELLO });
  return [answer.output_text, answer.status === "completed" && alike(answer.output_text, c.SAID_HELLO)];
});
check("responses_stream", async () => {
  let text = "", last;
  for await (const event of await client.responses.create({ model: MODEL, input: c.HELLO, stream: true })) {
    if (event.type === "response.output_text.delta") text += event.delta;
    last = event.type;
  }
  return [[text, last], last === "response.completed" && alike(text, c.SAID_HELLO)];
});
check("responses_tool", async () => {
  const first = await client.responses.create({ model: MODEL, input: c.ADD, tools: [flat] });
  const call = first.output.find((item) => item.type === "function_call");
  const result = { type: "function_call_output", call_id: call.call_id, output: "5" };
  const input = [...user(c.ADD), ...first.output, result];
  const text = (await client.responses.create({ model: MODEL, input, tools: [flat] })).output_text;
  return [text, isPair(call.arguments) && alike(text, c.SAID_SUM)];
});
check("responses_parse", async () => {
  const text = { format: zodTextFormat(Person, "person") };
  const parsed = (await client.responses.parse({ model: MODEL, input: c.PERSON, text })).output_parsed;
  return [parsed, typeof parsed.age === "number"];
});
check("error_401", () => {
  const stranger = client.withOptions({ apiKey: "nobody's key" });
  return raised(OpenAI.AuthenticationError, () => stranger.models.list(), { status: 401, code: "unauthorized" });
});
check("error_404", () =>
  raised(OpenAI.NotFoundError, () => asked(c.HELLO, { model: "nothing" }), { status: 404, param: "model" }));
check("error_400", () =>
  raised(OpenAI.BadRequestError, () => asked(c.HELLO, { temperature: 9 }), { status: 400, param: "temperature" }));
check("error_context_length", () =>
  raised(OpenAI.BadRequestError, () => asked("word ".repeat(9000)), { code: "context_length_exceeded" }));
check("error_429_budget", () => {
  const poor = client.withOptions({ apiKey: c.POOR_KEY });
  const ask = () => poor.chat.completions.create({ model: MODEL, messages: user(c.HELLO) });
  return raised(OpenAI.RateLimitError, ask, { status: 429, code: "budget_exhausted" });
});
scripted("error_429_busy", () =>
  raised(OpenAI.RateLimitError, () => client.withOptions({ maxRetries: 0 }).chat.completions.create(
    { model: MODEL, messages: user(c.ALWAYS_BUSY) }), { status: 429, type: "rate_limit_error" }));
scripted("retries_after_429", async () => {
  const text = (await asked(c.BUSY)).choices[0].message.content;
  return [text, text === "Here I am."];
});
scripted("error_503", () =>
  raised(OpenAI.InternalServerError, () => client.withOptions({ maxRetries: 0 }).chat.completions.create(
    { model: MODEL, messages: user(c.BROKEN) }), { status: 503 }));
check("timeout", () =>
  raised(OpenAI.APIConnectionTimeoutError, () => client.withOptions({ timeout: 1, maxRetries: 0 }).chat.completions.create(
    { model: MODEL, messages: user(c.HELLO) })));
scripted("cancelled_stream", async () => {
  const before = await c.left();
  const stream = await asked(c.ENDLESS, { stream: true });
  for await (const chunk of stream) if (chunk.choices[0].delta.content) break;
  stream.controller.abort();
  return [before, (await c.left(before)) === before + 1];
});

await run();
