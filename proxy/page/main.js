// main -- the page: brings the stream, the list, the rates, the policies and one open call together, and keeps the address in step.

import { Calls } from "./calls.js";
import { Detail } from "./detail.js";
import { ago, byId, fill, h, plain, said, short } from "./dom.js";
import { Feed, ask, useToken } from "./feed.js";
import { Policies } from "./policies.js";
import { Rates } from "./rates.js";

const FILTERS = { q: "text", status: "status", policy: "policy", model: "model" };

const rates = new Rates();
const policies = new Policies({ chosen: ofPolicy });
const detail = new Detail({ closed: () => (calls.select(null), remember()), chosen: ofPolicy });
const calls = new Calls({
  open(call) {
    detail.open(call.call, call);
    calls.select(call.call);
    remember();
  },
  changed: remember,
});

let boot = null;
let loaded = ""; // which state of the policies is shown
let last = null; // pulse
let heard = 0; // when

const feed = new Feed(
  {
    hello(hello) {
      if (boot !== null && boot !== hello.boot) {
        rates.restarted();
        policies.restarted();
      }
      if (boot !== hello.boot) loaded = "";
      boot = hello.boot;
      calls.kept = hello.kept;
      calls.baseUrl = hello.base_url;
    },
    calls(told) {
      calls.add(told);
      rates.add(told);
      if (asked !== null && calls.find(asked)) openAsked();
    },
    lost: (count) => calls.lose(count),
    pulse(pulse) {
      last = pulse;
      heard = Date.now();
      rates.pulse(pulse);
      policies.pulse(pulse);
      const state = `${boot} ${pulse.generation} ${pulse.reload_failures}`;
      if (state !== loaded) reload(state);
      facts();
      empty();
    },
  },
  linked,
);

async function reload(state) {
  loaded = state;
  try {
    const found = await ask("policies");
    if (loaded !== state) return;
    policies.show(found);
    calls.setPolicies(policies.names);
    facts();
  } catch {
    loaded = ""; // the next pulse asks again
  }
}

function facts() {
  const found = policies.loaded;
  const state = last?.state ?? "";
  const parts = [
    found?.revision ? ["revision", said(found.revision, { class: "mono" })] : null,
    found?.loaded_at ? ["loaded", h("span", { title: new Date(found.loaded_at).toLocaleString() }, ago(Date.now() - new Date(found.loaded_at)))] : null,
    last ? ["under way", short(last.in_flight)] : null,
    last ? ["connections", short(last.connections)] : null,
  ];
  fill(byId("facts"), parts.filter(Boolean).map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
  if (byId("link").dataset.state === "live") byId("link-text").textContent = state === "ready" || !state ? "Live" : `Live, ${plain(state)}`;
}

function linked(state, message = "") {
  const link = byId("link");
  link.dataset.state = state;
  const silent = heard ? `, last heard ${ago(Date.now() - heard)}` : "";
  byId("link-text").textContent = { live: "Live", lost: `Disconnected${silent}: trying again`, token: "Locked", refused: `Refused: ${plain(message)}` }[state];
  document.body.classList.toggle("stale", state !== "live");
  byId("token").hidden = state !== "token";
  if (state !== "live") empty();
}

function empty() {
  const box = byId("empty");
  const live = byId("link").dataset.state === "live";
  const kind = !live ? "off" : calls.calls.length ? "filtered" : calls.kept === false ? "unkept" : "none";
  if (box.dataset.kind === kind) return;
  box.dataset.kind = kind;
  if (kind === "off") return fill(box, h("p", null, "No answer from the admin port yet. The page tries again by itself."));
  if (kind === "filtered") return fill(box, h("p", null, "No call passes this filter."));
  if (kind === "unkept") return fill(box, h("p", { class: "strong" }, "Calls are not kept."), h("p", null, "The process runs with ", h("code", null, "--recent 0"), "; the log has its calls."));
  fill(
    box,
    h("p", { class: "strong" }, "No call yet."),
    h("p", null, "Point an app at the proxy; nothing else changes:"),
    h("pre", null, h("code", null, `export OPENAI_BASE_URL=${plain(calls.baseUrl ?? "http://127.0.0.1:4141/v1")}`)),
    h("p", { class: "hint" }, "Calls show here when they end."),
  );
}

// The address says what is shown, so that it can be sent to a colleague

let asked = null; // the call of a link, until it has been told

function remember() {
  const parts = new URLSearchParams();
  for (const [name, filter] of Object.entries(FILTERS)) if (calls.filter[filter]) parts.set(name, calls.filter[filter]);
  if (detail.id !== null) parts.set("call", detail.id);
  const text = parts.toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}

function recall() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const id = parts.get("call");
  calls.setFilter(Object.fromEntries(Object.entries(FILTERS).map(([name, filter]) => [filter, parts.get(name) ?? ""])));
  if (id) {
    asked = id;
    if (calls.find(id)) openAsked();
    else detail.open(id, null);
    remember();
  }
}

function openAsked() {
  const call = calls.find(asked);
  asked = null;
  if (detail.id !== null && detail.id !== call.call) return; // another was opened meanwhile
  detail.open(call.call, call);
  calls.select(call.call);
}

function ofPolicy(name) {
  view("calls");
  calls.setFilter({ policy: name });
}

function view(name) {
  document.body.dataset.view = name;
  for (const button of document.querySelectorAll(".views button")) button.setAttribute("aria-pressed", String(button.dataset.view === name));
}

// Keys and buttons

for (const button of document.querySelectorAll(".views button")) button.addEventListener("click", () => view(button.dataset.view));
byId("token").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(byId("token-value").value.trim());
  byId("token-value").value = "";
  feed.now();
});
addEventListener("hashchange", recall);
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches?.("input, select, textarea");
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else detail.close();
  } else if (typing) return;
  else if (event.key === "/") {
    event.preventDefault();
    byId("f-text").focus();
  } else if (event.key === "p") calls.pause(!calls.paused);
});

calls.setPolicies([]);
calls.offer("model", "any model", []);
recall();
empty();
feed.run();
