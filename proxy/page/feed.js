// feed -- the live stream from the admin port: reads Server-Sent Events by fetch, which can carry the token, and comes back by itself.

const SILENT_MS = 8_000; // a pulse comes every second
const WAITS_MS = [300, 600, 1_200, 2_500, 5_000];
const TOKEN = "chassis-admin-token";

/** The token that this tab was given. Storage may be forbidden: then it lasts as long as the page. */
let token = null;

export function useToken(value) {
  token = value;
  try {
    sessionStorage.setItem(TOKEN, value);
  } catch {}
}

function headers(more) {
  try {
    token ??= sessionStorage.getItem(TOKEN);
  } catch {}
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

/** What the admin port answered when it was no good: its status, and its own words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** JSON of a path of the admin port. */
export async function ask(path, signal) {
  const response = await fetch(path, { headers: headers({}), cache: "no-store", signal });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

async function refusal(response) {
  let message = `the admin port answered ${response.status}`;
  try {
    message = (await response.json()).error.message;
  } catch {}
  return new Refused(response.status, message);
}

/** Reads until the page is closed. `events` has a function for each event's name; `state(name, message)` is told `live`, `lost`, `token`, `refused`. */
export class Feed {
  constructor(events, state) {
    this.events = events;
    this.state = state;
    this.last = null;
    this.failures = 0;
    this.wake = () => {};
    addEventListener("online", () => this.now());
    document.addEventListener("visibilitychange", () => document.hidden || this.now());
  }

  /** Tries again at once, if it waits. */
  now() {
    this.wake();
  }

  async run() {
    for (;;) {
      try {
        await this.once();
        this.state("lost", "the proxy ended the stream");
      } catch (error) {
        const state = error.status === 401 ? "token" : error.status ? "refused" : "lost";
        this.state(state, error.status ? error.message : "no answer from the admin port");
      }
      const wait = WAITS_MS[Math.min(this.failures++, WAITS_MS.length - 1)];
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, wait * (0.8 + 0.4 * Math.random()));
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  async once() {
    const ending = new AbortController();
    let timer = setTimeout(() => ending.abort(), SILENT_MS);
    try {
      const more = this.last === null ? {} : { "Last-Event-ID": this.last };
      const response = await fetch("calls/live", { headers: headers(more), cache: "no-store", signal: ending.signal });
      if (!response.ok) throw await refusal(response);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ; ) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => ending.abort(), SILENT_MS);
        const events = (rest + value).split("\n\n");
        rest = events.pop();
        for (const each of events) this.told(each);
      }
    } finally {
      clearTimeout(timer);
      ending.abort();
    }
  }

  told(text) {
    let name = "";
    let data = "";
    let id = null;
    for (const line of text.split("\n")) {
      if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data += line.slice(6);
      else if (line.startsWith("id: ")) id = line.slice(4);
    }
    if (name === "hello") {
      this.failures = 0;
      this.state("live");
    }
    if (Object.hasOwn(this.events, name)) this.events[name](JSON.parse(data));
    if (id !== null) this.last = id;
  }
}
