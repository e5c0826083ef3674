// Has models of backends with protocols of their own answer the official OpenAI SDK for JavaScript: MODELS names them, TOOL_MODELS those that call a tool.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

// Where the SDK was installed, which is not beside this file.
const OpenAI = createRequire(process.env.NODE_PACKAGES + "/")("openai");

const client = new OpenAI({ maxRetries: 0, timeout: 600_000 });
const messages = [{ role: "user", content: "What is the capital of France?" }];
const asked = { messages, max_tokens: 12, temperature: 0 };
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "look", description: "Looks something up", parameters } }];
const models = (name) => (process.env[name] ?? "").split(" ").filter(Boolean);

async function aChatIsAnswered(model) {
  const answer = await client.chat.completions.create({ ...asked, model });
  assert.match(answer.choices[0].message.content, /Paris/);
  assert.ok(answer.usage.completion_tokens > 0);
}

async function aChatIsStreamed(model) {
  const stream = await client.chat.completions.create({
    ...asked, model, stream: true, stream_options: { include_usage: true },
  });
  let [text, chunks, usage] = ["", 0, undefined];
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
    chunks += 1;
  }
  assert.match(text, /Paris/);
  assert.ok(chunks > 4 && usage.completion_tokens > 0, JSON.stringify({ chunks, usage }));
}

async function aToolIsCalled(model) {
  const answer = await client.chat.completions.stream({ messages, model, tools }).finalChatCompletion();
  assert.equal(answer.choices[0].finish_reason, "tool_calls");
  const call = answer.choices[0].message.tool_calls[0];
  assert.equal(call.function.name, "look");
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });
}

async function anUnknownModelIsANotFoundError() {
  await assert.rejects(client.chat.completions.create({ ...asked, model: "ghost" }), OpenAI.NotFoundError);
}

for (const model of models("MODELS")) {
  await aChatIsAnswered(model);
  await aChatIsStreamed(model);
}
for (const model of models("TOOL_MODELS")) {
  await aToolIsCalled(model);
}
await anUnknownModelIsANotFoundError();
console.log("openai for JavaScript", models("MODELS"), models("TOOL_MODELS"));
