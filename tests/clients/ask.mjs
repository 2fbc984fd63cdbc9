// The openai package for Node against a gateway: `node ask.mjs BASE_URL`; what it got, as one line of JSON.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "hello" }];
const asked = { model: "auto:private", messages, max_tokens: 12 };

const whole = await client.chat.completions.create(asked);

const words = [];
for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
  words.push(chunk.choices[0]?.delta?.content ?? "");
}

const input = ["A cat sits on the mat.", "A kitten is on the rug.", "Interest rates rose in March."];
const found = await client.embeddings.create({ model: "auto", input });

let refused = null;
try {
  await client.chat.completions.create({ ...asked, model: "no-such-model" });
} catch (error) {
  refused = { kind: error.constructor.name, status: error.status, code: error.code };
}

console.log(
  JSON.stringify({
    text: whole.choices[0].message.content,
    tokens: whole.usage.completion_tokens,
    words,
    embeddings: found.data.map((each) => each.embedding),
    refused,
  }),
);
