// The official openai-node SDK in the roles an app gives it. One process serves many runs: each line on stdin is
// {"name", "base", "key"}; the line on stdout is {"result"} or {"problem"}. test_node.py compares a run direct with one through Chassis.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import net from 'node:net';
import { createInterface } from 'node:readline';

import OpenAI, { APIConnectionTimeoutError, APIUserAbortError, AzureOpenAI, toFile } from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { z } from 'zod';

const HELLO = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: "Wie geht's, Ærøskøbing?" }];
const SAID = "You said: Wie geht's, Ærøskøbing? — naïve 👍";
const WEATHER = { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } }, required: ['city', 'days'], additionalProperties: false };
const Plan = z.object({ steps: z.array(z.object({ explanation: z.string(), minutes: z.number() })), confident: z.boolean(), total: z.number().int() });
const PLAN = { steps: [{ explanation: 'Zürich', minutes: 2.5 }, { explanation: 'Zürich', minutes: 2.5 }], confident: true, total: 7 };
const ANY_BYTES = Buffer.alloc(300_000, Buffer.from(Array.from({ length: 256 }, (_, value) => value)));
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding']);

const ask = { model: 'gpt-4o', messages: HELLO };
const play = (name, more = {}) => ({ headers: { 'x-play': name }, ...more });
const digest = (data) => createHash('sha256').update(data).digest('hex');
const endToEnd = (headers) => [...headers].filter(([name]) => !HOP_BY_HOP.has(name));
const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? '').join('');

async function all(items) {
  const found = [];
  for await (const item of await items) found.push(item);
  return found;
}

function told(error) {
  const headers = error.headers ? endToEnd(error.headers) : null;
  const { status, code, param, type, requestID } = error;
  const cause = error.cause && { name: error.cause.name, code: error.cause.code ?? error.cause.cause?.code };
  return { class: error.constructor.name, message: error.message, status, code, param, type, requestID, headers, body: error.error, cause };
}

async function attempt(client, name, more) {
  try {
    return (await client.chat.completions.create(ask, play(name, more))).choices[0].message.content;
  } catch (error) {
    return told(error);
  }
}

async function listen(client, name, more) {
  const chunks = [];
  try {
    for await (const chunk of await client.chat.completions.create({ ...ask, stream: true }, play(name, more))) chunks.push(chunk);
  } catch (error) {
    return { chunks, raised: told(error) };
  }
  return { chunks, raised: null };
}

const scenarios = {
  async chat(client) {
    const { data, response, request_id } = await client.chat.completions.create({ ...ask, temperature: 1.0, seed: 7 }).withResponse();
    assert.equal(data.choices[0].message.content, SAID);
    assert.match(request_id, /^req_/);
    assert.equal(response.headers.get('x-ratelimit-remaining-requests'), '9999');
    assert.deepEqual(response.headers.getSetCookie(), ['__cf_bm=a1; path=/; HttpOnly', '_cfuvid=b2; path=/; Secure']);
    return { data, status: response.status, text: response.statusText, headers: endToEnd(response.headers) };
  },

  async chat_streamed(client) {
    const chunks = await all(client.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } }));
    assert.equal(textOf(chunks), SAID);
    assert.equal(chunks.at(-1).usage.total_tokens, 13);
    return chunks;
  },

  async chat_streamed_in_shreds(client) {
    const shredded = await all(client.chat.completions.create({ ...ask, stream: true }, play('shredded 7')));
    assert.equal(textOf(shredded), SAID);
    return shredded;
  },

  async chat_streamed_in_lockstep(client) {
    const chunks = [];
    for await (const chunk of await client.chat.completions.create({ ...ask, stream: true }, play('lockstep 4'))) {
      chunks.push(chunk);
      if (chunks.length === 3) await client.models.retrieve('gpt-4o-mini');
    }
    assert.equal(textOf(chunks), SAID);
    return chunks;
  },

  async chat_stream_helper(client) {
    const stream = client.chat.completions.stream({ ...ask, response_format: zodResponseFormat(Plan, 'plan') });
    const deltas = [];
    stream.on('content.delta', ({ delta }) => deltas.push(delta));
    const final = await stream.finalChatCompletion();
    assert.deepEqual(final.choices[0].message.parsed, PLAN);
    assert.deepEqual(JSON.parse(deltas.join('')), PLAN);
    return { deltas, final };
  },

  async chat_run_tools(client) {
    const asked = [];
    const tide = { name: 'get_tides', parameters: WEATHER, parse: JSON.parse, function: (args) => { asked.push(args); return '12°'; } };
    const runner = client.chat.completions.runTools({ ...ask, tools: [{ type: 'function', function: tide }] });
    const text = await runner.finalContent();
    assert.equal(text, 'You said: 12° — naïve 👍');
    assert.deepEqual(asked, [{ city: 'Zürich', days: 7 }]);
    return { text, asked, messages: runner.messages };
  },

  async chat_parsed(client) {
    const reply = await client.chat.completions.parse({ ...ask, response_format: zodResponseFormat(Plan, 'plan') });
    assert.deepEqual(reply.choices[0].message.parsed, PLAN);
    return reply;
  },

  async completions(client) {
    const streamed = await all(client.completions.create({ model: 'gpt-3.5-turbo-instruct', prompt: 'Once', stream: true }));
    assert.equal(streamed.map((chunk) => chunk.choices[0].text).join(''), ' … after Once');
    return streamed;
  },

  async responses(client) {
    const reply = await client.responses.create({ model: 'gpt-5', input: 'Hallo, Fähre!', instructions: 'Be brief.' });
    assert.equal(reply.output_text, 'Response to: Hallo, Fähre! — naïve 👍');
    return reply;
  },

  async responses_streamed(client) {
    const events = await all(client.responses.create({ model: 'gpt-5', input: 'Hallo', stream: true }));
    assert.deepEqual(events.map((event) => event.sequence_number), [...events.keys()]);
    assert.equal(events.at(-1).type, 'response.completed');
    return events;
  },

  async responses_parsed(client) {
    const format = { format: zodTextFormat(Plan, 'plan') };
    const reply = await client.responses.parse({ model: 'gpt-5', input: 'Plan it', text: format });
    const final = await client.responses.stream({ model: 'gpt-5', input: 'Plan it', text: format }).finalResponse();
    assert.deepEqual(reply.output_parsed, PLAN);
    assert.deepEqual(final.output_parsed, PLAN);
    return { reply, final };
  },

  async embeddings(client) {
    const usual = await client.embeddings.create({ model: 'text-embedding-3-small', input: ['Fähre', 'ferry'] });
    const packed = await client.embeddings.create({ model: 'text-embedding-3-small', input: ['Fähre'], encoding_format: 'base64' });
    assert.equal(usual.data[1].embedding.length, 32);
    assert.equal(Buffer.from(packed.data[0].embedding, 'base64').readFloatLE(4), usual.data[0].embedding[1]);
    return { usual, packed };
  },

  async files(client) {
    const made = await client.files.create({ file: await toFile(ANY_BYTES, 'any.bin', { type: 'application/jsonl' }), purpose: 'batch' });
    const listed = await all(client.files.list({ limit: 1 }));
    const content = await client.files.content(made.id);
    const data = Buffer.from(await content.arrayBuffer());
    const gone = await client.files.delete(made.id);
    assert.equal(made.bytes, ANY_BYTES.length);
    assert.ok(data.equals(ANY_BYTES));
    assert.ok(gone.deleted);
    return { made, listed, gone, headers: endToEnd(content.headers) };
  },

  async speech(client) {
    const reply = await client.audio.speech.create({ model: 'gpt-4o-mini-tts', voice: 'alloy', input: 'Ahoi' });
    const data = Buffer.concat(await all(reply.body));
    assert.equal(data.length, 262_149);
    return { sound: digest(data), headers: endToEnd(reply.headers) };
  },

  async transcriptions(client) {
    const found = {};
    for (const response_format of ['json', 'text', 'srt', 'verbose_json']) {
      const file = await toFile(ANY_BYTES.subarray(0, 30_000), 'ahoi.mp3', { type: 'audio/mpeg' });
      found[response_format] = await client.audio.transcriptions.create({ model: 'whisper-1', file, response_format });
    }
    assert.equal(found.json.text, 'The quick brown fox, naïvely, jumps over 東京.');
    assert.match(found.srt, /^1\n00:00:00,000 --> /);
    return found;
  },

  async images(client) {
    const drawn = await client.images.generate({ model: 'gpt-image-1', prompt: 'A ferry', n: 2 });
    const png = await toFile(Buffer.from(drawn.data[0].b64_json, 'base64'), 'a.png', { type: 'image/png' });
    const edited = await client.images.edit({ model: 'gpt-image-1', prompt: 'More öre', image: [png, png] });
    assert.match(edited.data[0].revised_prompt, /^More öre \[\d+, \d+\]$/);
    return { drawn, edited };
  },

  async batches_and_models(client) {
    const made = await client.batches.create({ input_file_id: 'file-1', endpoint: '/v1/chat/completions', completion_window: '24h' });
    const ended = await client.batches.cancel(made.id);
    const listed = await all(client.models.list());
    const tuned = await client.models.retrieve('ft:gpt-4o-mini:acme::9abc');
    assert.equal(ended.status, 'cancelling');
    assert.deepEqual(listed.map((model) => model.id).slice(0, 2), ['gpt-4o', 'gpt-4o-mini']);
    assert.equal(tuned.owned_by, 'acme');
    return { made, ended, listed, tuned };
  },

  async extras(client) {
    const options = { headers: { 'X-Tenant': 'a; b="c"', 'X-Empty': '', 'Idempotency-Key': 'k-1' }, query: { q: 'ä&=/?', beta: ['a', 'b'] } };
    const reply = await client.chat.completions.create({ ...ask, ext: { big: Number.MAX_SAFE_INTEGER, e: 1e21 } }, options);
    assert.equal(reply.choices[0].message.content, SAID);
    return reply;
  },

  async encodings(client) {
    const found = {};
    for (const name of ['gzip', 'deflate', 'br']) {
      const { data, response } = await client.chat.completions.create(ask, play(`encoded ${name}`)).withResponse();
      assert.equal(data.choices[0].message.content, SAID);
      assert.equal(response.headers.get('content-encoding'), name);
      found[name] = endToEnd(response.headers);
    }
    const chunks = await all(client.chat.completions.create({ ...ask, stream: true }, play('encoded gzip')));
    assert.equal(textOf(chunks), SAID);
    return { found, chunks };
  },

  async azure(client) {
    const endpoint = client.baseURL.replace(/\/v1$/, '');
    const other = new AzureOpenAI({ endpoint, apiKey: client.apiKey, apiVersion: '2024-10-21', maxRetries: 0 });
    const reply = await other.chat.completions.create(ask);
    assert.equal(reply.choices[0].message.content, SAID);
    return reply;
  },

  async realtime(client) {
    const session = realtimeSession(client);
    const events = [];
    const ended = new Promise((resolve, reject) => {
      session.on('event', (event) => {
        events.push(event);
        if (event.type === 'response.done') session.close({ code: 1000, reason: 'thank you' });
      });
      session.on('error', reject);
      session.socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    session.socket.on('open', () => {
      session.send({ type: 'session.update', session: { type: 'realtime', instructions: 'Sei kurz.' } });
      session.send({ type: 'input_audio_buffer.append', audio: ANY_BYTES.toString('base64') });
      session.send({ type: 'response.create' });
    });
    const end = await ended;
    const text = events.filter((event) => event.type === 'response.output_text.delta').map((event) => event.delta).join('');
    assert.equal(text, 'Ahoy from the wire 🛰');
    assert.equal(events[0].type, 'session.created');
    assert.equal(end.code, 1000);
    return { events, end };
  },

  async realtime_refused(client) {
    const session = realtimeSession(client.withOptions({ apiKey: 'sk-wrong' }));
    const error = await new Promise((resolve) => session.on('error', resolve));
    assert.match(error.message, /401/);
    return error.message.split('\n')[0];
  },

  async unauthorized(client) {
    const found = await attempt(client.withOptions({ apiKey: 'sk-wrong' }), '');
    assert.equal(found.class, 'AuthenticationError');
    assert.equal(found.code, 'invalid_api_key');
    return found;
  },

  async statuses(client) {
    const found = {};
    for (const status of [400, 403, 404, 409, 422, 500, 503]) found[status] = await attempt(client, `failing ${status} 2`);
    assert.deepEqual(Object.keys(found).filter((status) => found[status] === SAID), ['409', '500', '503']);
    assert.equal(found[404].class, 'NotFoundError');
    return found;
  },

  async default_retries(client) {
    const found = await attempt(client, 'broken');
    assert.equal(found.class, 'InternalServerError');
    return found;
  },

  async rate_limits(client) {
    const quick = await attempt(client, 'rate-limited 2 retry-after-ms 30');
    const tired = await attempt(client.withOptions({ maxRetries: 1 }), 'rate-limited 9 retry-after-ms 30');
    assert.equal(quick, SAID);
    assert.equal(tired.class, 'RateLimitError');
    return { quick, tired };
  },

  async retries_as_told(client) {
    const found = [await attempt(client, 'told 500 false'), await attempt(client, 'told 400 true')];
    assert.equal(found[0].class, 'InternalServerError');
    assert.equal(found[1], SAID);
    return found;
  },

  async error_in_a_stream(client) {
    const found = await listen(client, 'erring 4');
    assert.equal(found.chunks.length, 3);
    assert.equal(found.raised.code, 'overheated');
    return found;
  },

  async stream_cut(client) {
    const found = await listen(client, 'cut 5');
    assert.equal(found.chunks.length, 4);
    assert.ok(found.raised);
    return found;
  },

  async reply_cut(client) {
    const found = await attempt(client.withOptions({ maxRetries: 0 }), 'cut 40');
    assert.ok(found.class);
    return found;
  },

  async silence(client) {
    const found = await attempt(client.withOptions({ maxRetries: 1, timeout: 250 }), 'silent');
    assert.equal(found.class, APIConnectionTimeoutError.name);
    return found;
  },

  async abort_in_a_stream(client) {
    const stream = await client.chat.completions.create({ ...ask, stream: true }, play('endless'));
    const heard = [];
    let left;
    for await (const chunk of stream) {
      heard.push(chunk);
      if (heard.length < 3) continue;
      left = process.hrtime.bigint();
      stream.controller.abort();
    }
    assert.equal(heard.length, 3);
    return { heard, left_s: Number(left) / 1e9 };
  },

  async abort_before_any_reply(client) {
    const controller = new AbortController();
    const asking = client.chat.completions.create(ask, play('silent', { signal: controller.signal, maxRetries: 0 }));
    let left;
    setTimeout(() => { left = process.hrtime.bigint(); controller.abort(); }, 200);
    await assert.rejects(asking, APIUserAbortError);
    return { left_s: Number(left) / 1e9 };
  },
};

// The SDK always asks for wss; the socket below carries it in clear, as ws:// would be.
function realtimeSession(client) {
  const createConnection = ({ host, port }) => net.connect({ host, port });
  return new OpenAIRealtimeWS({ model: 'gpt-realtime', options: { createConnection } }, client);
}

async function perform({ name, base, key }) {
  if (name === 'names') return { result: Object.keys(scenarios) };
  const client = new OpenAI({ baseURL: base, apiKey: key, organization: 'org-acme', project: 'proj_7', timeout: 10_000 });
  try {
    return { result: await scenarios[name](client) };
  } catch (error) {
    return { problem: String(error?.stack ?? error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await perform(JSON.parse(line)))}\n`);
}
process.exit(0);
