// Bars over time.

import { el, table } from "./parts.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000;
const HEIGHT = 160;

const svg = (name, attributes) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

// `points` are pairs of a title and a number. The same numbers stand below, as a table, for those who cannot see bars.
export function bars(caption, points) {
  if (points.length === 0) return el("p", { className: "soft" }, "Nothing happened.");
  const most = Math.max(1, ...points.map(([, count]) => count));
  const all = points.reduce((sum, [, count]) => sum + count, 0);
  const label = `${caption}: ${all} in all, ${most} at most`;
  const chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "chart", role: "img", "aria-label": label });
  const step = WIDTH / points.length;
  points.forEach(([title, count], index) => {
    const height = (count / most) * HEIGHT;
    const bar = svg("rect", { x: index * step, y: HEIGHT - height, width: Math.max(1, step * 0.85), height });
    const hint = svg("title", {});
    hint.textContent = `${title}: ${count}`;
    bar.append(hint);
    chart.append(bar);
  });
  const rows = points.filter(([, count]) => count > 0).map(([title, count]) => [title, String(count)]);
  return el("figure", {}, chart, el("figcaption", { className: "soft" }, label),
    el("details", {}, el("summary", {}, "As a table"), table(caption, ["Time", "Records"], rows)));
}
