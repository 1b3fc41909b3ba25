// detail -- one call: how it went, what was decided in order, and why: each policy with what its conditions wanted and saw.

import { ask } from "./feed.js";
import { byId, copies, fill, h, milliseconds, millis, placeOf, plain, said, timeOfDay } from "./dom.js";
import { dated, models, pill } from "./calls.js";

const MARKS = { true: ["✓", "holds"], false: ["✗", "does not hold"], null: ["?", "cannot be told"] };
const TOLD_APART = new Set(["kind", "policy", "shadow", "acted", "at_ms"]);

export class Detail {
  /** `closed()` is told when it goes; `chosen(name)`: show the calls of that policy. */
  constructor({ closed, chosen }) {
    this.closed = closed;
    this.chosen = chosen;
    this.element = byId("detail");
    this.id = null;
    this.before = null; // had the focus
    this.asking = null;
  }

  /** `call` is null where only its id is known: from a link. */
  open(id, call) {
    if (this.id === null) this.before = document.activeElement;
    this.id = id;
    this.asking?.abort();
    this.asking = new AbortController();
    const why = h("section", { class: "why" }, h("h3", null, "Why"), h("p", { class: "hint" }, "Asking …"));
    const how = h("div", { class: "how" }, call ? this.how(call) : null);
    fill(
      this.element,
      h(
        "header",
        null,
        h("h2", { tabindex: "-1" }, "Call ", said(id, { class: "mono" })),
        copies(id, "the id"),
        h("button", { type: "button", class: "quiet close", "aria-label": "Close", on: { click: () => this.close() } }, "✕"),
      ),
      how,
      why,
    );
    this.element.hidden = false;
    this.element.scrollTop = 0;
    document.body.classList.add("has-detail");
    this.why(id, why, call ? null : how, this.asking.signal);
  }

  how(call) {
    return [summary(call), this.decisions(call)];
  }

  focus() {
    this.element.querySelector("h2").focus();
  }

  close() {
    if (this.id === null) return;
    this.id = null;
    this.asking?.abort();
    this.element.hidden = true;
    document.body.classList.remove("has-detail");
    this.before?.isConnected && this.before.focus({ preventScroll: true });
    this.closed();
  }

  decisions(call) {
    const entries = call.decisions ?? [];
    return h(
      "section",
      { class: "decided" },
      h("h3", null, "Decided"),
      entries.length
        ? h("ol", { class: "journal" }, entries.map((entry) => this.decision(entry)))
        : h("p", { class: "hint" }, "Nothing: no policy acted on this call, and every byte went as it came."),
    );
  }

  decision(entry) {
    const values = Object.entries(entry).filter(([name]) => !TOLD_APART.has(name));
    return h(
      "li",
      { class: entry.shadow ? "in-shadow" : null },
      h("span", { class: "at num" }, entry.at_ms === undefined ? "" : `+${milliseconds(entry.at_ms)}`),
      h(
        "div",
        null,
        said(entry.kind, { class: "strong" }),
        entry.policy ? [h("span", { class: "dim" }, " of "), h("button", { type: "button", class: "name", title: "Show its calls", on: { click: () => this.chosen(entry.policy) } }, said(entry.policy))] : null,
        entry.shadow ? h("span", { class: "chip shadow" }, "shadow") : null,
        values.length ? h("dl", { class: "values" }, values.map(([name, value]) => [h("dt", null, plain(name)), h("dd", null, valueOf(value))])) : null,
      ),
    );
  }

  /** Asks for the conditions; `how` is filled too where the call itself is not known here. */
  async why(id, section, how, signal) {
    let found;
    try {
      found = await ask(`explain?id=${encodeURIComponent(id)}`, signal);
    } catch (error) {
      if (signal.aborted) return;
      fill(section, h("h3", null, "Why"), h("p", { class: "hint" }, "The conditions cannot be told: ", said(error.message), "."));
      return;
    }
    if (how && found.call) fill(how, this.how(dated(found.call)));
    const policies = found.policies ?? [];
    const matched = policies.filter((policy) => policy.matches === true);
    const others = policies.filter((policy) => policy.matches !== true);
    const notes = [found.note, ...(found.notes ?? [])].filter(Boolean);
    fill(
      section,
      h("h3", null, "Why"),
      notes.map((note) => h("p", { class: "hint" }, said(note))),
      policies.length ? null : h("p", { class: "hint" }, "No policy is loaded."),
      matched.map((policy) => reason(policy, true)),
      others.length > 3 && matched.length
        ? h("details", { class: "others" }, h("summary", null, `${others.length} others did not match`), others.map((policy) => reason(policy, false)))
        : others.map((policy) => reason(policy, others.length <= 3)),
      edits(found),
      stack(found),
      h("p", { class: "hint command" }, h("code", null, `curl -s '${location.origin}${location.pathname}explain?id=${encodeURIComponent(id)}'`), copies(`curl -s '${location.origin}${location.pathname}explain?id=${encodeURIComponent(id)}'`, "the command")),
    );
  }
}

function summary(call) {
  const rows = [
    ["Status", h("span", null, pill(call))],
    call.detail ? ["Reason", said(call.detail, { class: "message" })] : null,
    ["Began", h("span", { title: call.ts }, dateOf(call.began), ` ${timeOfDay(call.began)}${millis(call.began)}`)],
    ["Request", said(`${call.method} ${call.path}`, { class: "mono" })],
    ["Model", h("span", { class: "models wrap" }, models(call))],
    ["Took", took(call)],
    ["Exchanges", `${call.exchanges}${call.stream ? ", a stream" : ""}`],
    call.trace_id ? ["Trace", h("span", null, said(call.trace_id, { class: "mono" }), copies(call.trace_id, "the trace id"))] : null,
  ];
  return h("dl", { class: "summary" }, rows.filter(Boolean).map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

function dateOf(date) {
  return `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;
}

function took(call) {
  if (call.first_byte_ms === undefined) return milliseconds(call.ms);
  const head = h("progress", { max: String(Math.max(call.ms, 0.001)), value: String(call.first_byte_ms), "aria-label": "first byte within the whole" });
  return h("span", { class: "took" }, milliseconds(call.ms), head, h("span", { class: "dim" }, `first byte after ${milliseconds(call.first_byte_ms)}`));
}

function reason(policy, open) {
  const [mark, word] = MARKS[String(policy.matches ?? null)];
  const verdict = policy.matches === true ? "matches" : policy.matches === false ? "does not match" : "cannot be told, so it does not match";
  const conditions = policy.conditions ?? [];
  return h(
    "details",
    { class: `reason is-${policy.matches ?? "unknown"}`, open },
    h(
      "summary",
      null,
      h("span", { class: "mark", title: word, "aria-hidden": "true" }, mark),
      said(policy.name, { class: "strong" }),
      h("span", { class: "dim" }, verdict),
      policy.mode && policy.mode !== "enforce" ? h("span", { class: `chip ${plain(policy.mode)}` }, plain(policy.mode)) : null,
      policy.where ? said(placeOf(policy.where), { class: "mono dim place", title: plain(policy.where) }) : null,
    ),
    conditions.length ? tree(conditions) : h("p", { class: "hint" }, "It has no condition: it always matches."),
  );
}

function tree(conditions) {
  return h(
    "ul",
    { class: "tree" },
    conditions.map(flat).map((one) => {
      const [mark, word] = MARKS[String(one.holds ?? null)];
      return h(
        "li",
        { class: `is-${one.holds ?? "unknown"}` },
        h("span", { class: "mark", title: word, role: "img", "aria-label": word }, mark),
        h("div", null, said(one.name, { class: "strong" }), one.expected ? h("span", { class: "wants" }, " wants ", said(one.expected)) : "", " ", h("span", { class: "saw" }, !one.expected || /^unknown: /.test(one.seen) ? said(one.seen) : ["saw ", said(one.seen)])),
        one.conditions?.length ? tree(one.conditions) : null,
      );
    }),
  );
}

/** The same without groups of one, which say nothing: `not keywords` is one line. */
function flat(one) {
  const inner = one.conditions?.length === 1 ? flat(one.conditions[0]) : null;
  if (!inner || !/^(match|any|all|not|signal .*)$/.test(one.name)) return one;
  if (/^(match|any|all)$/.test(one.name)) return inner;
  const name = inner.name === "match" ? one.name : one.name === "not" ? `not ${inner.name}` : `${one.name}: ${inner.name}`;
  return { ...inner, name, holds: one.holds };
}

/** What would leave otherwise than it came. */
function edits(found) {
  const changes = found.exchange?.edits ?? [];
  if (!changes.length) return null;
  const one = (value) => (value == null ? h("span", { class: "dim" }, "nothing") : valueOf(value));
  return h(
    "div",
    { class: "edits" },
    h("h4", null, "Changed in the request"),
    h("dl", { class: "values" }, changes.map((edit) => [h("dt", null, said(edit.path, { class: "mono" })), h("dd", null, one(edit.old), h("span", { class: "dim" }, " → "), one(edit.new))])),
  );
}

function stack(found) {
  const layers = found.stack ?? [];
  const lost = found.shadowed ?? [];
  if (!layers.length && !lost.length) return null;
  return h(
    "div",
    { class: "stack" },
    h("h4", null, "Layers, outermost first"),
    h("ol", null, layers.map((layer) => h("li", null, said(layer.kind, { class: "strong" }), h("span", { class: "dim" }, " of "), said(layer.policy)))),
    lost.length ? h("ul", { class: "lost" }, lost.map((each) => h("li", null, said(each.kind), each.fields?.length ? said(` (${each.fields.join(", ")})`) : null, " of ", said(each.policy), " was overruled by ", said(each.by)))) : null,
  );
}

function valueOf(value) {
  if (Array.isArray(value) && value.every((each) => typeof each !== "object")) return said(value.join(", ") || "–");
  return said(typeof value === "object" && value !== null ? JSON.stringify(value) : String(value), { class: "mono" });
}
