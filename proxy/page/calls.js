// calls -- the list of calls: keeps the last few thousand, shows those that pass the filter, newest first, and draws once a frame at most.

import { byId, fill, h, milliseconds, millis, number, plain, said, timeOfDay } from "./dom.js";

const KEPT = 5_000; // calls in memory: some 5 MB
const PAGE = 200; // rows drawn at once; a browser lays out so many in a few milliseconds
const MOST_ROWS = 1_000;
const POINTING_MS = 1_500; // rows stand still while a pointer moves over them, so that a click meets what it was aimed at
const NAMES = 60; // models offered in the filter

export class Calls {
  /** `open(call)` is told which call was chosen; `changed()` that the filter is another. */
  constructor({ open, changed }) {
    this.open = open;
    this.changed = changed;
    this.calls = []; // oldest first
    this.byCall = new Map();
    this.fresh = 0; // at the end of `calls`, not drawn yet
    this.lost = 0;
    this.limit = PAGE;
    this.paused = false;
    this.still = 0; // until when a pointer holds the rows
    this.due = false;
    this.whole = true; // all rows must be drawn anew
    this.selected = null;
    this.models = new Map();
    this.policies = [];
    this.filter = { text: "", status: "", policy: "", model: "" };
    this.rows = byId("rows");
    this.scroller = byId("calls");
    this.listen();
  }

  listen() {
    for (const name of ["text", "status", "policy", "model"]) {
      byId(`f-${name}`).addEventListener("input", (event) => this.setFilter({ [name]: event.target.value }));
    }
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("clear").addEventListener("click", () => this.setFilter({ text: "", status: "", policy: "", model: "" }));
    byId("pause").addEventListener("click", () => this.pause(!this.paused));
    byId("more").addEventListener("click", () => {
      this.limit = Math.min(this.limit + PAGE, MOST_ROWS);
      this.redraw();
    });
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (row) this.choose(row.dataset.call);
    });
    this.rows.addEventListener("keydown", (event) => this.key(event));
    this.rows.addEventListener("pointermove", () => (this.still = performance.now() + POINTING_MS));
    for (const scroller of [this.scroller, document]) scroller.addEventListener("scroll", () => this.fresh && this.schedule(), { passive: true });
    document.addEventListener("visibilitychange", () => this.schedule());
  }

  // What comes in

  add(calls) {
    for (const call of calls) {
      if (this.byCall.has(call.call)) continue; // told again after a reconnect
      dated(call);
      this.byCall.set(call.call, call);
      this.calls.push(call);
      this.fresh++;
      this.see(call.model);
      this.see(call.model_sent);
    }
    if (this.calls.length > KEPT) {
      for (const old of this.calls.splice(0, this.calls.length - KEPT)) this.byCall.delete(old.call);
      this.fresh = Math.min(this.fresh, this.calls.length);
    }
    this.schedule();
  }

  lose(count) {
    this.lost += count;
    this.schedule();
  }

  find(id) {
    return this.byCall.get(id) ?? null;
  }

  see(model) {
    if (model === undefined || this.models.has(model) || this.models.size >= NAMES) return;
    this.models.set(model, true);
    this.offer("model", "any model", [...this.models.keys()].sort());
  }

  /** The names that the policy filter offers. */
  setPolicies(names) {
    if (names.join("\n") === this.policies.join("\n") && byId("f-policy").options.length) return;
    this.policies = names;
    this.offer("policy", "any policy", names, [["*", "some policy acted"]]);
  }

  offer(name, any, values, more = []) {
    const select = byId(`f-${name}`);
    const chosen = this.filter[name];
    if (chosen && chosen !== "*" && !values.includes(chosen)) values = [...values, chosen];
    fill(
      select,
      [["", any], ...more, ...values.map((value) => [value, value])].map(([value, text]) =>
        h("option", { value }, text.length > 60 ? `${text.slice(0, 59)}…` : text),
      ),
    );
    select.value = chosen;
  }

  // What is asked for

  setFilter(some) {
    Object.assign(this.filter, some);
    for (const [name, value] of Object.entries(this.filter)) {
      const field = byId(`f-${name}`);
      if (field.value === value) continue;
      if (field.tagName === "SELECT" && value && ![...field.options].some((option) => option.value === value)) {
        field.append(h("option", { value }, value)); // from a link: a name that has not been seen yet
      }
      field.value = value;
    }
    byId("clear").hidden = !this.isFiltered();
    this.limit = PAGE;
    this.changed();
    this.redraw();
  }

  isFiltered() {
    return Object.values(this.filter).some(Boolean);
  }

  passes(call) {
    const { text, status, policy, model } = this.filter;
    if (status && !(status === "bad" ? isTrouble(call) : classOf(call) === status)) return false;
    if (policy === "*" ? !call.policies : policy && !namesIn(call).includes(policy)) return false;
    if (model && call.model !== model && call.model_sent !== model) return false;
    if (!text) return true;
    const hay = (call.hay ??= hayOf(call));
    return text
      .toLowerCase()
      .split(/\s+/)
      .every((term) => (term.length > 1 && term[0] === "-" ? !hay.includes(term.slice(1)) : hay.includes(term)));
  }

  pause(paused) {
    this.paused = paused;
    const button = byId("pause");
    button.setAttribute("aria-pressed", String(paused));
    this.schedule();
  }

  choose(id) {
    const call = this.find(id);
    if (call) this.open(call);
  }

  /** Marks the row of the call that is open; null: none. */
  select(id) {
    this.selected = id;
    for (const row of this.rows.children) this.mark(row);
  }

  mark(row) {
    if (row.dataset.call === this.selected) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }

  key(event) {
    const row = event.target.closest("tr");
    const to = { ArrowDown: row?.nextElementSibling, ArrowUp: row?.previousElementSibling, Home: this.rows.firstElementChild, End: this.rows.lastElementChild }[
      event.key
    ];
    if (!to) return;
    event.preventDefault();
    this.focus(to);
    if (this.selected !== null) this.choose(to.dataset.call);
  }

  focus(row) {
    for (const button of this.rows.querySelectorAll('button[tabindex="0"]')) button.tabIndex = -1;
    const button = row.querySelector("button");
    button.tabIndex = 0;
    button.focus();
  }

  // What is drawn

  redraw() {
    this.whole = true;
    this.schedule();
  }

  schedule() {
    if (this.due || document.hidden) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.draw();
    });
  }

  /** Whether whoever looks has scrolled down: then what they read stays where it is. */
  isScrolled() {
    if (!this.rows.firstElementChild) return false;
    return this.rows.getBoundingClientRect().top < Math.max(this.scroller.getBoundingClientRect().top, 0) - 12;
  }

  draw() {
    const pointing = this.still - performance.now();
    const holds = this.paused || this.isScrolled() || (pointing > 0 && this.fresh > 0);
    if (!holds || this.whole) this.drawRows();
    else if (pointing > 0 && !this.paused) setTimeout(() => this.schedule(), pointing + 20);
    this.tell(holds);
  }

  drawRows() {
    const from = this.whole ? 0 : this.calls.length - this.fresh;
    const end = this.whole && this.paused ? this.calls.length - this.fresh : this.calls.length; // paused: what is new stays out
    const found = [];
    for (let i = end - 1; i >= from && found.length < this.limit; i--) {
      if (this.passes(this.calls[i])) found.push(this.calls[i]);
    }
    const rows = found.map((call) => this.row(call));
    if (this.whole || found.length >= this.limit) this.rows.replaceChildren(...rows);
    else this.rows.prepend(...rows);
    while (this.rows.childElementCount > this.limit) this.rows.lastElementChild.remove();
    if (!(this.whole && this.paused)) this.fresh = 0;
    this.whole = false;
    if (!this.rows.querySelector('button[tabindex="0"]')) {
      const first = this.rows.querySelector("button");
      if (first) first.tabIndex = 0;
    }
  }

  tell(holds) {
    const rows = this.rows.childElementCount;
    const waiting = holds ? this.calls.slice(this.calls.length - this.fresh).filter((call) => this.passes(call)).length : 0;
    const parts = [];
    if (waiting) parts.push(`${number(waiting)} new`);
    if (this.lost) parts.push(`${number(this.lost)} too fast to list`);
    if (this.isFiltered()) parts.push("filtered");
    parts.push(`${number(rows)} of ${number(this.calls.length)}`);
    byId("shown").textContent = parts.join(" · ");
    byId("pause").textContent = this.paused ? (waiting ? `Resume (${number(waiting)})` : "Resume") : "Pause";
    byId("list").hidden = rows === 0;
    const more = byId("more");
    more.hidden = rows < this.limit || this.limit >= MOST_ROWS;
    more.textContent = `Show ${PAGE} more`;
    byId("empty").hidden = rows > 0;
  }

  row(call) {
    const row = h(
      "tr",
      { data: { call: call.call }, class: isTrouble(call) ? "trouble" : null },
      h(
        "td",
        { class: "c-time" },
        h("button", { type: "button", tabindex: "-1", class: "open", "aria-label": `Call that ended at ${timeOfDay(call.ended)}, ${outcomeOf(call)}` }, timeOfDay(call.ended), h("small", null, millis(call.ended))),
      ),
      h("td", { class: "c-status" }, pill(call)),
      h("td", { class: "c-endpoint", title: plain(`${call.method} ${call.path}`) }, said(call.endpoint === "other" ? `${call.method} ${call.path}` : call.endpoint), call.stream ? h("small", null, " stream") : null),
      h("td", { class: "c-model" }, h("div", { class: "models" }, models(call))),
      h("td", { class: "c-did" }, h("div", { class: "chips" }, chips(call))),
      h("td", { class: "c-first num" }, milliseconds(call.first_byte_ms)),
      h("td", { class: "c-whole num" }, milliseconds(call.ms)),
    );
    this.mark(row);
    return row;
  }
}

/** The call with its times as dates. */
export function dated(call) {
  call.began = new Date(call.ts);
  call.ended = new Date(call.began.getTime() + call.ms);
  return call;
}

/** The class of a call's status: `2xx`, …, or `none` where the app left before there was one. */
export function classOf(call) {
  return call.status === undefined ? "none" : `${Math.floor(call.status / 100)}xx`;
}

export function isTrouble(call) {
  return call.status === undefined || call.status >= 400 || call.fault !== undefined || call.level === "error";
}

/** How it ended, in a word or two. */
export function outcomeOf(call) {
  if (call.client_left) return "client left";
  if (call.fault) return call.fault.replaceAll("_", " ");
  if (call.origin === "static" && call.status >= 400) return "refused";
  return call.status === undefined ? "no reply" : "";
}

export function pill(call) {
  const kind = call.status === undefined || call.client_left ? "left" : call.status >= 500 || call.level === "error" ? "bad" : call.status >= 400 || call.fault ? "warn" : "good";
  const word = outcomeOf(call);
  return [h("span", { class: `pill ${kind}` }, call.status === undefined ? "—" : String(call.status)), word ? h("small", { class: "word" }, ` ${word}`) : null];
}

export function models(call) {
  const asked = call.model;
  const sent = call.model_sent;
  const moved = sent !== undefined && sent !== asked;
  return [
    asked === undefined ? h("span", { class: "dim" }, "–") : said(asked, { class: "mono" }),
    moved ? [h("span", { class: "arrow", "aria-label": "answered by" }, "→"), said(sent, { class: "mono strong" })] : null,
    call.upstream ? said(call.upstream, { class: "dim where" }) : null,
    call.origin && call.origin !== "upstream" ? h("span", { class: "chip origin" }, call.origin) : null,
    call.exchanges > 1 ? h("span", { class: "chip", title: `${call.exchanges} exchanges with upstreams` }, `×${call.exchanges}`) : null,
  ];
}

function chips(call) {
  return [
    (call.policies ?? []).map((name) => said(name, { class: "chip acted" })),
    (call.shadow ?? []).map((name) => said(name, { class: "chip shadow", title: `${plain(name)}: in shadow, it changed nothing` })),
  ];
}

function namesIn(call) {
  return [...(call.matched ?? []), ...(call.policies ?? []), ...(call.shadow ?? [])];
}

function hayOf(call) {
  const parts = [call.call, call.method, call.path, call.endpoint, call.model, call.model_sent, call.upstream, call.status, call.fault, call.detail, call.origin];
  return [...parts, call.trace_id, outcomeOf(call), ...namesIn(call)].filter((part) => part !== undefined).join("\n").toLowerCase();
}
