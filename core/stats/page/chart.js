"use strict";

// The chart of decisions per second: a bar for each second or minute, what was refused on top of what was allowed, and
// lines for what a shadow rule would have refused and what failed, if there was any.
const chart = (() => {
  const svg = document.getElementById("chart");
  const left = 44, right = 8, top = 8, bottom = 22;
  let last = [[], 1];

  function element(name, attributes, text) {
    const e = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    if (text !== undefined) e.textContent = text;
    return e;
  }

  // ceiling returns a round number that is at least n.
  function ceiling(n) {
    const power = 10 ** Math.floor(Math.log10(n));
    return [1, 2, 4, 5, 10].map((f) => f * power).find((v) => v >= n * 0.999999);
  }

  // draw shows points, of so many seconds each.
  function draw(points, seconds) {
    last = [points, seconds];
    const width = svg.clientWidth, height = svg.clientHeight;
    if (width === 0 || points.length === 0) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const per = points.map((p) => ({
      allowed: p.allowed / seconds, refused: p.refused / seconds,
      shadow: p.shadow_refused / seconds, failed: p.errors / seconds,
    }));
    const most = Math.max(...per.map((p) => Math.max(p.allowed + p.refused, p.shadow, p.failed)));
    const max = ceiling(Math.max(most, seconds === 1 ? 4 : 0.4));
    const y = (v) => height - bottom - (v / max) * (height - top - bottom);
    const step = (width - left - right) / per.length;
    const x = (i) => left + i * step;
    const parts = [];
    for (const v of [0, max / 2, max]) {
      parts.push(element("line", { class: "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) }));
      parts.push(element("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, words.rate(v)));
    }
    const unit = seconds === 1 ? "s" : "min";
    for (const [i, anchor] of [[0, "start"], [per.length / 2, "middle"], [per.length, "end"]]) {
      const ago = per.length - i;
      parts.push(element("text", { x: x(i), y: height - 4, "text-anchor": anchor }, ago === 0 ? "now" : `${ago} ${unit} ago`));
    }
    const gap = step > 5 ? 1 : 0.3;
    per.forEach((p, i) => {
      const bar = element("g", {});
      bar.append(element("title", {},
        `${words.rate(p.allowed)} allowed, ${words.rate(p.refused)} refused a second, ${per.length - i} ${unit} ago`));
      const rect = (name, from, to) => {
        if (to > from) {
          bar.append(element("rect", { class: name, x: x(i), y: y(to), width: step - gap, height: y(from) - y(to) }));
        }
      };
      rect("area-allowed", 0, p.allowed);
      rect("area-refused", p.allowed, p.allowed + p.refused);
      parts.push(bar);
    });
    for (const name of ["shadow", "failed"]) {
      // Only where there is something: a line along the bottom says nothing.
      const shown = (i) => [i - 1, i, i + 1].some((j) => per[j] && per[j][name] > 0);
      for (let i = 0; i < per.length; i++) {
        const line = [];
        for (; i < per.length && shown(i); i++) line.push(`${x(i) + step / 2},${y(per[i][name])}`);
        if (line.length > 0) parts.push(element("polyline", { class: "line-" + name, points: line.join(" ") }));
      }
    }
    svg.replaceChildren(...parts);
    const now = per[per.length - 1];
    document.getElementById("chart-words").textContent =
      `In the last ${seconds === 1 ? "second" : "minute"} ${words.rate(now.allowed)} allowed and ${words.rate(now.refused)} refused ` +
      `a second; at most ${words.rate(most)} in the time shown.`;
  }

  new ResizeObserver(() => draw(...last)).observe(svg);
  return { draw };
})();
