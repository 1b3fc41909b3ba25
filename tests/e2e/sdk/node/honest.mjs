// One streamed call by openai-node: `node honest.mjs BASE KEY FORM PLAY` prints how many events came and what was raised, as JSON.
// test_honest_streams.py asks it.

import OpenAI from 'openai';

const [base, key, form, play] = process.argv.slice(2);
const client = new OpenAI({ baseURL: base, apiKey: key, maxRetries: 0, timeout: 15_000 });
const options = { headers: { 'x-play': play } };
const asks = {
  chat: () => client.chat.completions.create({ model: 'gpt-4o', messages: [{ role: 'user', content: 'Hi' }], stream: true }, options),
  completions: () => client.completions.create({ model: 'gpt-4o', prompt: 'Hi', stream: true }, options),
  responses: () => client.responses.create({ model: 'gpt-4o', input: 'Hi', stream: true }, options),
};

let said = 0;
let raised = null;
try {
  for await (const _ of await asks[form]()) said += 1;
} catch (error) {
  raised = error;
}
console.log(JSON.stringify({ said, raised: raised && raised.constructor.name, code: raised?.code ?? null, message: raised?.error?.message ?? null }));
