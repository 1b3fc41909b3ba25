// One call by openai-node with its default retries: `node agreement.mjs BASE KEY MODEL PLAY STREAM TIMEOUT_MS` prints what was said or raised.
// test_agreement.py asks it.

import OpenAI from 'openai';

const [base, key, model, play, stream, timeout] = process.argv.slice(2);
const client = new OpenAI({ baseURL: base, apiKey: key });
const patience = timeout === '0' ? {} : { timeout: Number(timeout) }; // of a call: of the client's own the SDK does not tell
const asked = { model, messages: [{ role: 'user', content: 'Hi' }], stream: stream === 'true' };

let text = '';
let raised = null;
const begun = Date.now();
try {
  const reply = await client.chat.completions.create(asked, { headers: { 'x-play': play }, ...patience });
  if (asked.stream) for await (const chunk of reply) text += chunk.choices[0]?.delta?.content ?? '';
  else text = reply.choices[0].message.content;
} catch (error) {
  raised = error;
}
console.log(JSON.stringify({ text, raised: raised && raised.constructor.name, status: raised?.status ?? null, took_s: (Date.now() - begun) / 1000 }));
