// Vercel's AI SDK, with its providers for OpenAI-compatible servers and for OpenAI itself.

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, RetryError, generateObject, generateText, isStepCount, streamObject, streamText, tool } from "ai";
import { z } from "zod";
import * as c from "./checks.mjs";
import { KEY, MODEL, URL, alike, check, raised, run, scripted } from "./checks.mjs";

const settings = { name: "flightloop", baseURL: URL, apiKey: KEY, includeUsage: true, supportsStructuredOutputs: true };
const model = createOpenAICompatible(settings)(MODEL);
const openai = createOpenAI({ baseURL: URL, apiKey: KEY });
const made = [];
const add = tool({
  description: "Adds two.",
  inputSchema: z.object({ a: z.number().int(), b: z.number().int() }),
  execute: async ({ a, b }) => (made.push([a, b]), a + b),
});
const Person = z.object({
  name: z.string(),
  age: z.number().int(),
  address: z.object({ city: z.string(), country: z.string() }),
});
const Drawing = z.object({
  shape: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("circle"), radius: z.number() }),
    z.object({ kind: z.literal("square"), side: z.number() }),
  ]),
});
const steps = isStepCount(5);

for (const [name, chosen] of [["compatible", model], ["chat", openai.chat(MODEL)], ["responses", openai.responses(MODEL)]]) {
  check(`${name}_generate_text`, async () => {
    const { text, usage, finishReason } = await generateText({ model: chosen, prompt: c.HELLO });
    return [[text, usage], finishReason === "stop" && usage.totalTokens > 0 && alike(text, c.SAID_HELLO)];
  });
  check(`${name}_stream_text`, async () => {
    const result = streamText({ model: chosen, prompt: c.HELLO });
    let text = "";
    for await (const delta of result.textStream) text += delta;
    return [[text, await result.usage], alike(text, c.SAID_HELLO) && (await result.usage).totalTokens > 0];
  });
  check(`${name}_tool_steps`, async () => {
    made.length = 0;
    const result = await generateText({ model: chosen, prompt: c.ADD_ON, tools: { add }, stopWhen: steps });
    const right = !c.SCRIPTED || (made.join() === "2,3,5,4" && result.steps.length === 3);
    return [[made, result.text], made.length > 0 && right && alike(result.text, c.SAID_RESULT)];
  });
  check(`${name}_stream_tool_steps`, async () => {
    made.length = 0;
    const result = streamText({ model: chosen, prompt: c.ADD, tools: { add }, stopWhen: steps });
    const kinds = new Set();
    for await (const part of result.fullStream) kinds.add(part.type);
    const text = await result.text;
    return [[made, text], kinds.has("tool-call") && kinds.has("tool-result") && alike(text, c.SAID_SUM)];
  });
  scripted(`${name}_parallel_tools`, async () => {
    const { toolCalls } = await generateText({ model: chosen, prompt: c.ADD_TWICE, tools: { add } });
    return [toolCalls, toolCalls.map((call) => call.input.a).join() === "2,4"];
  });
  check(`${name}_generate_object`, async () => {
    const { object } = await generateObject({ model: chosen, schema: Person, prompt: c.PERSON });
    return [object, typeof object.address.city === "string"];
  });
  check(`${name}_output_union`, async () => {
    const { output } = await generateText({ model: chosen, output: Output.object({ schema: Drawing }), prompt: c.CIRCLE });
    return [output, output.shape.kind === "circle"];
  });
  check(`${name}_stream_object`, async () => {
    const result = streamObject({ model: chosen, schema: Person, prompt: c.PERSON });
    let partials = 0;
    for await (const _ of result.partialObjectStream) partials += 1;
    return [[partials, await result.object], partials > 1 && typeof (await result.object).age === "number"];
  });
}
check("tool_choice", async () => {
  const { toolCalls } = await generateText({ model, prompt: c.ADD, tools: { add }, toolChoice: "required" });
  return [toolCalls, toolCalls[0].toolName === "add"];
});
check("error_401", () => {
  const stranger = createOpenAICompatible({ ...settings, apiKey: "nobody's key" })(MODEL);
  return raised(APICallError, () => generateText({ model: stranger, prompt: c.HELLO }), { statusCode: 401 });
});
check("error_404", () => {
  const absent = createOpenAICompatible(settings)("nothing");
  return raised(APICallError, () => generateText({ model: absent, prompt: c.HELLO }), { statusCode: 404 });
});
check("error_400", () =>
  raised(APICallError, () => generateText({ model, prompt: c.HELLO, temperature: 9 }), { statusCode: 400 }));
check("error_in_a_stream", async () => {
  let seen;
  const result = streamText({ model, prompt: c.HELLO, temperature: 9, onError: ({ error }) => (seen = error) });
  await result.consumeStream();
  return [seen?.message, seen?.statusCode === 400];
});
scripted("retries_after_429", async () => {
  const { text } = await generateText({ model, prompt: c.BUSY });
  return [text, text === "Here I am."];
});
scripted("error_429", () =>
  raised(RetryError, () => generateText({ model, prompt: c.ALWAYS_BUSY, maxRetries: 1 }), { reason: "maxRetriesExceeded" }));
scripted("cancelled_stream", async () => {
  const before = await c.left();
  const stop = new AbortController();
  const result = streamText({ model, prompt: c.ENDLESS, abortSignal: stop.signal, onError: () => {} });
  for await (const part of result.fullStream) if (part.type === "text-delta") stop.abort();
  return [before, (await c.left(before)) === before + 1];
});

await run();
