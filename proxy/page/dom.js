// dom -- elements from values, and values as a person reads them. Text only ever becomes text nodes and attributes, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `props`: `class`, `on` (listeners), `data`, any attribute; null and false leave one out. Children: nodes, text, lists of both. */
export function h(tag, props, ...children) {
  return build(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function s(tag, props, ...children) {
  return build(document.createElementNS(SVG, tag), props, children);
}

function build(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value == null || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child == null || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : plain(child));
  }
}

/** Replaces what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

export const byId = (id) => document.getElementById(id);

// C0, C1, what turns the direction of text, what is not seen: shown by name, as none may hide or turn what stands beside it
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff]/gu;

/** Text as it may be shown: what is invisible is spelled. Halves of characters and what cannot be text are spelled too. */
export function plain(value) {
  const text = typeof value === "string" ? value : value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.replace(UNSEEN, (c) => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);
}

/** Text from outside, kept apart from the direction of what stands beside it. */
export function said(text, props) {
  const shown = plain(text);
  return h("bdi", { title: shown.length > 24 ? shown : null, ...props }, shown);
}

export function milliseconds(ms) {
  if (ms == null || !Number.isFinite(ms)) return "–";
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 99_950) return `${(ms / 1000).toFixed(ms < 9_995 ? 2 : 1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

const GROUPED = new Intl.NumberFormat("en-GB");

export function number(value) {
  return GROUPED.format(value);
}

/** A count in four characters: 1,234 is 1.2k. */
export function short(value) {
  if (value < 10_000) return number(value);
  if (value < 1e6) return `${(value / 1e3).toFixed(value < 99_950 ? 1 : 0)}k`;
  return `${(value / 1e6).toFixed(1)}M`;
}

const two = (value) => String(value).padStart(2, "0");

/** Local time of day, to the millisecond: as on the wall of whoever looks. */
export function timeOfDay(date) {
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export function millis(date) {
  return `.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** A place without its folders and its column: `routes.yaml:12`. */
export function placeOf(where) {
  return where.replace(/^.*[/\\]/, "").replace(/:(\d+):\d+$/, ":$1");
}

/** How long ago, roughly. */
export function ago(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 5) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** The value below which `share` of `sorted` lies. */
export function quantile(sorted, share) {
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] : null;
}

/** A button that copies text, where the browser lets it. */
export function copies(text, label) {
  const button = h("button", { type: "button", class: "quiet", "aria-label": `Copy ${label}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}
