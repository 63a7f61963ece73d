// `node talk.mjs FOLDER`: as ../talk.py, for the official package for Node.js that lies in FOLDER/node_modules.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const OpenAI = createRequire(join(process.argv[2], "package.json"))("openai");
const SECONDS = 60;

const open = ({ url, key }) =>
  new OpenAI({ baseURL: url, apiKey: key, maxRetries: 0, timeout: SECONDS * 1000 });
const user = (content) => [{ role: "user", content }];

const actions = {
  async chat(wish) {
    const got = await open(wish).chat.completions.create({ model: wish.model, messages: user(wish.said) });
    return { text: got.choices[0].message.content, tokens: got.usage.completion_tokens };
  },

  async stream(wish) {
    const more = wish.usage ? { stream_options: { include_usage: true } } : {};
    const asked = { model: wish.model, messages: user(wish.said), stream: true, ...more };
    const told = [];
    let text = "", empty = 0;
    for await (const piece of await open(wish).chat.completions.create(asked)) {
      text += piece.choices[0]?.delta.content ?? "";
      empty += piece.choices.length === 0;
      if (piece.usage) told.push(piece.usage.completion_tokens);
    }
    return { text, told, empty };
  },

  async tools(wish) {
    const asked = {
      model: wish.model, messages: user("is it spring?"), tools: [wish.tool], tool_choice: "required",
    };
    const completions = open(wish).chat.completions;
    if (!wish.stream) {
      const choice = (await completions.create(asked)).choices[0];
      return { ...choice.message.tool_calls[0].function, finish: choice.finish_reason };
    }
    const call = { name: "", arguments: "", finish: "" };
    for await (const piece of await completions.create({ ...asked, stream: true })) {
      for (const choice of piece.choices) {
        call.finish = choice.finish_reason ?? call.finish;
        for (const part of choice.delta.tool_calls ?? []) {
          call.name += part.function.name ?? "";
          call.arguments += part.function.arguments ?? "";
        }
      }
    }
    return call;
  },

  async embed(wish) {
    const got = await open(wish).embeddings.create({ model: wish.model, input: wish.texts, dimensions: 8 });
    return got.data.map((entry) => entry.embedding);
  },

  async models(wish) {
    const found = [];
    for await (const model of open(wish).models.list()) found.push(model.id);
    return found;
  },

  async respond(wish) {
    return (await open(wish).responses.create({ model: wish.model, input: wish.said })).output_text;
  },

  async batches(wish) {
    return (await open(wish).batches.list()).data;
  },
};

function describe(error) {
  const bases = [];
  for (let kind = error.constructor; kind?.name; kind = Object.getPrototypeOf(kind)) bases.push(kind.name);
  return { name: error.constructor.name, bases, status: error.status ?? null, message: error.message };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { do: action, ...wish } = JSON.parse(line);
  let answer;
  try {
    answer = { answer: await actions[action](wish) };
  } catch (error) {
    answer = { raised: describe(error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
