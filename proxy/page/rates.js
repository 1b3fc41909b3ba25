// rates -- calls a second, trouble, durations: counted by the proxy once a second, durations out of the calls that were told.

import { byId, fill, h, milliseconds, quantile, s, short } from "./dom.js";

const SECONDS = 120;
const LEAST_SECONDS = 30; // across the width, when the page has just been opened
const SAMPLES = 4_000; // durations of the last minute; more are thinned to the newest
const WIDTH = 120;
const HEIGHT = 28;

export class Rates {
  constructor() {
    this.before = null; // the last pulse
    this.seconds = []; // {calls, bad, ms: [], first: []}, the last is now
    this.pending = { ms: [], first: [] };
    this.samples = [];
    this.tiles = ["Calls", "Trouble", "Duration", "First byte"].map(tile);
    fill(byId("rates"), this.tiles.map((each) => each.element));
  }

  /** Another process: its counts begin anew. */
  restarted() {
    this.before = null;
  }

  add(calls) {
    const now = Date.now();
    for (const call of calls) {
      if (now - call.ended > SECONDS * 1000) continue;
      this.pending.ms.push(call.ms);
      if (call.first_byte_ms !== undefined) this.pending.first.push(call.first_byte_ms);
      this.samples.push({ at: call.ended.getTime(), ms: call.ms, first: call.first_byte_ms });
    }
    if (this.samples.length > SAMPLES) this.samples.splice(0, this.samples.length - SAMPLES);
  }

  pulse(pulse) {
    const before = this.before;
    this.before = pulse;
    const took = before ? (pulse.at_ms - before.at_ms) / 1000 : 0;
    if (before && took > 0) {
      const { ms, first } = this.pending;
      for (let gap = 1; gap < Math.min(Math.round(took), SECONDS); gap++) this.seconds.push(null); // nobody listened
      this.seconds.push({
        calls: (all(pulse.calls) - all(before.calls)) / took,
        bad: (bad(pulse.calls) - bad(before.calls)) / took,
        ms: quantile(ms.sort(ascending), 0.95),
        first: quantile(first.sort(ascending), 0.95),
      });
      if (this.seconds.length > SECONDS) this.seconds.splice(0, this.seconds.length - SECONDS);
    }
    this.pending = { ms: [], first: [] };
    if (!document.hidden) this.draw(pulse);
  }

  draw(pulse) {
    const [calls, trouble, whole, first] = this.tiles;
    const minute = this.seconds.slice(-60).filter(Boolean);
    const sum = minute.reduce((total, second) => total + second.calls, 0);
    const wrong = minute.reduce((total, second) => total + second.bad, 0);
    const latest = this.seconds.slice(-10).filter(Boolean);
    const rate = latest.length ? latest.reduce((total, second) => total + second.calls, 0) / latest.length : 0;
    calls.show([rate === 0 ? "0" : rate < 9.95 ? rate.toFixed(1) : short(Math.round(rate)), h("small", null, "/s")], `${short(all(pulse.calls))} since start, ${short(pulse.in_flight)} under way`);
    calls.line(this.seconds.map((second) => second?.calls));
    trouble.show([wrong ? ((100 * wrong) / sum).toFixed(wrong / sum < 0.0995 ? 1 : 0) : "0", h("small", null, "%")], `${short(pulse.calls["5xx"] ?? 0)} 5xx, ${short(pulse.calls["4xx"] ?? 0)} 4xx, ${short(pulse.calls.none ?? 0)} left`);
    trouble.line(this.seconds.map((second) => second?.bad));
    trouble.element.classList.toggle("alarming", wrong > 0);
    const since = Date.now() - 60_000;
    const recent = this.samples.filter((sample) => sample.at >= since);
    spread(whole, recent.map((sample) => sample.ms));
    whole.line(this.seconds.map((second) => second?.ms));
    spread(first, recent.map((sample) => sample.first).filter((ms) => ms !== undefined));
    first.line(this.seconds.map((second) => second?.first));
  }
}

const ascending = (a, b) => a - b;
const all = (calls) => Object.values(calls).reduce((total, count) => total + count, 0);
const bad = (calls) => (calls["5xx"] ?? 0) + (calls["4xx"] ?? 0) + (calls.none ?? 0);

function spread(tile, values) {
  values.sort(ascending);
  tile.show(milliseconds(quantile(values, 0.5)), values.length ? `p95 ${milliseconds(quantile(values, 0.95))}` : "no call in the last minute");
}

function tile(name) {
  const value = h("span", { class: "value" }, "–");
  const below = h("span", { class: "below" }, "");
  const area = s("path", { class: "area" });
  const stroke = s("path", { class: "stroke" });
  const base = s("path", { class: "base", d: `M0 ${HEIGHT}H${WIDTH}` });
  const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, base, area, stroke);
  const element = h("div", { class: "tile" }, h("span", { class: "name" }, name), value, below, svg);
  return {
    element,
    show(shown, text) {
      fill(value, shown);
      below.textContent = text;
    },
    line(values) {
      const most = Math.max(...values.filter((each) => each != null), 0) || 1;
      const across = Math.max(LEAST_SECONDS, values.length);
      const step = WIDTH / (across - 1);
      const from = across - values.length;
      let path = "";
      let filled = "";
      let start = null;
      values.forEach((each, i) => {
        const x = ((from + i) * step).toFixed(1);
        if (each == null) {
          if (start !== null) filled += `L${((from + i - 1) * step).toFixed(1)} ${HEIGHT}L${start} ${HEIGHT}Z`;
          start = null;
          return;
        }
        const y = (HEIGHT - 1.5 - (each / most) * (HEIGHT - 3)).toFixed(1);
        const point = start === null ? `M${x} ${y}h.01` : `L${x} ${y}`; // a second that stands alone is a dot
        path += point;
        filled += point;
        start ??= x;
      });
      if (start !== null) filled += `L${WIDTH} ${HEIGHT}L${start} ${HEIGHT}Z`;
      stroke.setAttribute("d", path);
      area.setAttribute("d", filled);
    },
  };
}
