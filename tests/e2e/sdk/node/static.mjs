// One call by openai-node to a proxy whose upstream is dead: `node static.mjs BASE KEY FORM plain|stream` prints what it says, as JSON.
// test_static_answers.py asks it.

import OpenAI from 'openai';

const [base, key, form, how] = process.argv.slice(2);
const client = new OpenAI({ baseURL: base, apiKey: key, maxRetries: 0, timeout: 15_000 });
const messages = [{ role: 'user', content: 'Hi' }];
const plain = {
  chat: async () => {
    const answer = await client.chat.completions.create({ model: 'gpt-4o', messages });
    return { said: answer.choices[0].message.content, finish: answer.choices[0].finish_reason, used: answer.usage.total_tokens };
  },
  completions: async () => {
    const answer = await client.completions.create({ model: 'gpt-4o', prompt: 'Hi' });
    return { said: answer.choices[0].text, finish: answer.choices[0].finish_reason, used: answer.usage.total_tokens };
  },
  responses: async () => {
    const answer = await client.responses.create({ model: 'gpt-4o', input: 'Hi' });
    return { said: answer.output_text, finish: answer.status, used: answer.usage.total_tokens };
  },
};
const stream = {
  chat: async () => {
    const runner = client.chat.completions.stream({ model: 'gpt-4o', messages, stream_options: { include_usage: true } });
    const answer = await runner.finalChatCompletion();
    return { said: answer.choices[0].message.content, finish: answer.choices[0].finish_reason, used: answer.usage.total_tokens };
  },
  completions: async () => {
    let said = '';
    let finish = null;
    let used = null;
    const options = { include_usage: true };
    for await (const chunk of await client.completions.create({ model: 'gpt-4o', prompt: 'Hi', stream: true, stream_options: options })) {
      said += chunk.choices[0]?.text ?? '';
      finish = chunk.choices[0]?.finish_reason ?? finish;
      used = chunk.usage?.total_tokens ?? used;
    }
    return { said, finish, used };
  },
  responses: async () => {
    const answer = await client.responses.stream({ model: 'gpt-4o', input: 'Hi' }).finalResponse();
    return { said: answer.output_text, finish: answer.status, used: answer.usage.total_tokens };
  },
};
console.log(JSON.stringify(await { plain, stream }[how][form]()));
