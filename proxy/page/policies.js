// policies -- what is loaded, how often each policy was hit, which change was refused and why, and where exchanges went.

import { ago, byId, copies, fill, h, number, placeOf, plain, said, short } from "./dom.js";

const ABOVE_WARNINGS = 5; // more are folded

export class Policies {
  /** `chosen(name)`: show the calls of that policy. */
  constructor({ chosen }) {
    this.chosen = chosen;
    this.loaded = null;
    this.hits = {};
    this.exchanges = {};
    this.cells = new Map(); // policy -> the elements of its counts
    setInterval(() => this.count(), 5_000); // "3 min ago" goes on without calls
  }

  get names() {
    return (this.loaded?.policies ?? []).map((policy) => policy.name);
  }

  show(loaded) {
    const listed = new Set((loaded.policies ?? []).map((policy) => policy.name));
    const off = (loaded.off ?? []).filter((policy) => !listed.has(policy.name)).map((policy) => ({ mode: "off", ...policy }));
    this.loaded = { ...loaded, policies: [...(loaded.policies ?? []), ...off] };
    this.problems();
    this.list();
    this.upstreams();
    this.warnings();
  }

  /** Another process counts from zero. */
  restarted() {
    this.hits = {};
    this.exchanges = {};
  }

  pulse(pulse) {
    const known = Object.keys(this.exchanges).length;
    Object.assign(this.hits, pulse.hits);
    this.exchanges = pulse.exchanges;
    this.states = pulse.states ?? [];
    if (Object.keys(pulse.hits).length) this.count();
    if (this.loaded && (known !== Object.keys(this.exchanges).length || !document.hidden)) this.upstreams();
  }

  // A refused change is seen at once

  problems() {
    const problems = this.loaded.last_error?.problems ?? [];
    const alerts = byId("alerts");
    if (!problems.length) return fill(alerts);
    const wrong = problems.filter((problem) => problem.severity !== "warning");
    const text = problems.map(lineOf).join("\n");
    fill(
      alerts,
      h(
        "section",
        { class: "alert", "aria-label": "Refused policies" },
        h("h2", null, "The last change of the policies was refused"),
        h("p", null, `Revision ${this.loaded.revision} stays in force. Mend ${wrong.length === 1 ? "this" : `these ${wrong.length}`}; the change is taken within a second:`),
        h("ol", { class: "problems" }, problems.map((problem) => h("li", null, problemOf(problem)))),
        copies(text, "the problems"),
      ),
    );
  }

  list() {
    const policies = this.loaded.policies ?? [];
    byId("policies-count").textContent = policies.length ? String(policies.length) : "";
    this.cells.clear();
    const rows = policies.map((policy) => this.row(policy));
    fill(
      byId("policies"),
      h("h2", null, "Policies", h("small", null, policies.length ? " hits since start, in calls" : "")),
      rows.length
        ? h(
            "table",
            { class: "loaded" },
            h(
              "thead",
              null,
              h(
                "tr",
                null,
                h("th", { scope: "col" }, "Policy"),
                h("th", { scope: "col", class: "num", title: "Its conditions held" }, "matched"),
                h("th", { scope: "col", class: "num", title: "It changed what happened; in shadow: it would have" }, "acted"),
                h("th", { scope: "col", class: "num" }, "last"),
              ),
            ),
            h("tbody", null, rows),
          )
        : h("p", { class: "hint" }, "None is loaded: every call is carried byte for byte."),
      h("p", { class: "hint files" }, (this.loaded.files ?? []).map((file) => said(file, { class: "mono" }))),
    );
    this.count();
  }

  row(policy) {
    const matched = h("td", { class: "num" });
    const acted = h("td", { class: "num" });
    const last = h("td", { class: "num dim" });
    const labels = Object.entries(policy.labels ?? {});
    this.cells.set(policy.name, { policy, matched, acted, last });
    return h(
      "tr",
      { class: `mode-${policy.mode}` },
      h(
        "td",
        null,
        h("button", { type: "button", class: "name", title: "Show its calls", on: { click: () => this.chosen(policy.name) } }, said(policy.name)),
        policy.mode === "enforce" ? null : h("span", { class: `chip ${policy.mode}` }, policy.mode),
        h(
          "div",
          { class: "about" },
          said((policy.kinds ?? []).join(", ")),
          labels.map(([name, value]) => said(`${name}=${value}`, { class: "label" })),
          policy.where ? said(placeOf(policy.where), { class: "mono dim place", title: plain(policy.where) }) : null,
        ),
      ),
      matched,
      acted,
      last,
    );
  }

  count() {
    if (document.hidden) return;
    for (const [name, { policy, matched, acted, last }] of this.cells) {
      const hit = this.hits[name];
      const off = policy.mode === "off";
      const did = policy.mode === "shadow" ? hit?.would : hit?.acted;
      text(matched, off ? "–" : short(hit?.matched ?? 0));
      text(acted, off ? "–" : policy.mode === "shadow" ? `(${short(did ?? 0)})` : short(did ?? 0));
      acted.title = policy.mode === "shadow" ? "would have acted" : hit?.overruled ? `${number(hit.overruled)} times an earlier policy had set the same` : "";
      text(last, hit?.matched ? ago(Date.now() - hit.last_ms) : off ? "" : "never");
    }
  }

  upstreams() {
    const upstreams = this.loaded.upstreams ?? [];
    const shown = upstreams.map((upstream) => {
      const outcomes = Object.entries(this.exchanges[upstream.name] ?? {}).sort((a, b) => b[1] - a[1]);
      return h(
        "li",
        { data: { upstream: upstream.name } },
        h("div", { class: "head" }, said(upstream.name, { class: "strong" }), upstream.home ? h("span", { class: "chip" }, "home") : null),
        said(upstream.url ?? "no url", { class: "mono dim url" }),
        h("div", { class: "about" }, said(`key: ${upstream.key}`), outcomes.length ? null : h("span", { class: "dim" }, "no exchange yet")),
        this.trouble(upstream.name),
        outcomes.length ? h("div", { class: "chips" }, outcomes.map(([outcome, count]) => h("span", { class: `chip ${/^2/.test(outcome) ? "" : "wrong"}` }, said(outcome), ` ${short(count)}`))) : null,
      );
    });
    const limits = this.trouble("");
    if (limits) shown.push(h("li", null, limits));
    const key = JSON.stringify([upstreams, this.exchanges, this.states]);
    if (key === this.drawn) return;
    this.drawn = key;
    fill(byId("upstreams"), h("h2", null, "Upstreams", shown.length ? h("small", null, " exchanges since start") : ""), shown.length ? h("ul", { class: "upstreams" }, shown) : h("p", { class: "hint" }, "None is declared."));
  }

  /** Breakers that are not closed, and limits that are full: of an upstream, or, without a name, of policies. */
  trouble(upstream) {
    const states = (this.states ?? []).filter((state) => state.upstream === upstream);
    return states.length ? h("div", { class: "chips states" }, states.map((state) => h("span", { class: "chip wrong", title: `${state.kind} of ${state.policy}` }, said(stateOf(state))))) : null;
  }

  warnings() {
    const warnings = this.loaded.warnings ?? [];
    const items = warnings.map((warning) => h("li", null, typeof warning === "string" ? said(warning) : problemOf(warning)));
    fill(
      byId("warnings"),
      warnings.length
        ? h("details", { open: warnings.length <= ABOVE_WARNINGS }, h("summary", null, h("h2", null, `Warnings `), h("span", { class: "count" }, String(warnings.length))), h("ul", { class: "problems" }, items))
        : null,
    );
  }
}

function stateOf(state) {
  if (state.kind !== "circuit_breaker") return `${state.upstream || state.policy}: full, ${state.in_flight} of ${state.limit}, ${state.queued} waiting`;
  const word = state.state === "open" ? `open, ${Math.ceil(state.open_for_s ?? 0)} s` : "half-open";
  return `${state.model || "all models"}: ${word}`;
}

function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

function problemOf(problem) {
  const place = problem.file ? `${problem.file}${problem.line ? `:${problem.line}:${problem.column}` : ""}` : "";
  return [
    place ? said(place, { class: "mono place" }) : null,
    problem.severity === "warning" ? h("span", { class: "chip" }, "warning") : null,
    problem.path ? said(problem.path, { class: "mono dim" }) : null,
    said(problem.message, { class: "message" }),
    problem.hint ? said(problem.hint, { class: "fix" }) : null,
  ];
}

function lineOf(problem) {
  const place = problem.file ? `${problem.file}${problem.line ? `:${problem.line}:${problem.column}` : ""}: ` : "";
  return `${place}${problem.path ? `${problem.path}: ` : ""}${problem.message}${problem.hint ? `; ${problem.hint}` : ""}`;
}
