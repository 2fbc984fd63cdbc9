// openai for Node: a chat, a stream, a tool's round trip, responses, embeddings, and its errors.
import OpenAI from "openai";
import { ASK, DISH, KEY, SCHEMA, URL_, USE_TOOL, check, must, readable, streamed, text, used } from "./telling.mjs";

const client = new OpenAI({ baseURL: `${URL_}/v1`, apiKey: KEY, maxRetries: 0 });
const messages = [{ role: "user", content: ASK }];
const tools = [{ type: "function", function: { name: "look_up", description: "A dish", parameters: SCHEMA } }];
const ask = (fields) => client.chat.completions.create({ model: "auto", messages, ...fields });

await check("chat", async () => text((await ask({})).choices[0].message.content));
await check("stream", async () => {
  const parts = [];
  for await (const chunk of await ask({ stream: true })) parts.push(chunk.choices[0]?.delta?.content);
  return streamed(parts);
});
await check("tools", async () => {
  const turns = [{ role: "user", content: USE_TOOL }];
  const { message } = (await ask({ messages: turns, tools })).choices[0];
  const call = message.tool_calls[0];
  must(JSON.parse(call.function.arguments).dish === "soup", "the arguments are not whole");
  turns.push(message, { role: "tool", tool_call_id: call.id, content: DISH });
  return used((await ask({ messages: turns, tools })).choices[0].message.content);
});
await check("responses", async () => {
  const parts = [];
  for await (const event of await client.responses.create({ model: "auto", input: ASK, stream: true }))
    if (event.type === "response.output_text.delta") parts.push(event.delta);
  return streamed(parts);
});
await check("embeddings", async () => {
  const found = await client.embeddings.create({ model: "auto", input: ["soup", "bread"] });
  must(found.data.length === 2, "not two embeddings");
  return `${found.data[0].embedding.length} numbers`;
});
await check("error", () => readable(() => ask({ model: "no-such-model" }), "no-such-model"));
await check("error", () =>
  readable(() => client.withOptions({ apiKey: "pk-wrong" }).chat.completions.create({ model: "auto", messages }), "key"));
