// @anthropic-ai/sdk: a message, a stream, a tool's round trip, and its errors.
import Anthropic from "@anthropic-ai/sdk";
import { ASK, DISH, KEY, SCHEMA, URL_, USE_TOOL, check, must, readable, streamed, text, used } from "./telling.mjs";

const client = new Anthropic({ baseURL: URL_, apiKey: KEY, maxRetries: 0 });
const tools = [{ name: "look_up", description: "A dish", input_schema: SCHEMA }];
const asked = { model: "auto", max_tokens: 200, messages: [{ role: "user", content: ASK }] };

await check("chat", async () => text((await client.messages.create(asked)).content[0].text));
await check("stream", async () => {
  const parts = [];
  const stream = client.messages.stream(asked).on("text", (part) => parts.push(part));
  must((await stream.finalMessage()).stop_reason === "end_turn", "the stream did not end its turn");
  return streamed(parts);
});
await check("tools", async () => {
  const messages = [{ role: "user", content: USE_TOOL }];
  const first = await client.messages.stream({ ...asked, messages, tools }).finalMessage();
  const call = first.content.find((block) => block.type === "tool_use");
  must(call.input.dish === "soup", "the arguments are not whole");
  const result = { type: "tool_result", tool_use_id: call.id, content: DISH };
  messages.push({ role: "assistant", content: first.content }, { role: "user", content: [result] });
  return used((await client.messages.create({ ...asked, messages, tools })).content[0].text);
});
await check("error", () => readable(() => client.messages.create({ ...asked, model: "no-such-model" }), "no-such-model"));
await check("error", () => readable(() => client.withOptions({ apiKey: "pk-wrong" }).messages.create(asked), "key"));
