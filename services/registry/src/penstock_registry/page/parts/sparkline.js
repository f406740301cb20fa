/** The last hour in the height of a line of text. */

import { h } from "../dom.js";
import { rate, size } from "../show/units.js";

/** Return a sparkline of bytes by minute, the oldest first. */
export function sparkline(bytesByMinute) {
  const most = Math.max(0, ...bytesByMinute);
  const all = bytesByMinute.reduce((sum, bytes) => sum + bytes, 0);
  const label = most
    ? `Last hour: ${size(all)}, at most ${rate(most / 60)}, ${ago(bytesByMinute.lastIndexOf(most), bytesByMinute.length)}`
    : "Last hour: nothing";
  return h(
    "svg",
    { class: "sparkline", role: "img", "aria-label": label, viewBox: "0 0 60 20", preserveAspectRatio: "none" },
    h("title", null, label),
    h("path", { class: "ground", d: "M0 19.5H60" }),
    most > 0 && h("path", { class: "bars", d: bars(bytesByMinute, most) }),
  );
}

function bars(values, most) {
  const width = 60 / values.length;
  return values
    .map((value, index) => [index, Math.max(value && 1, (value / most) * 19)])
    .filter(([, height]) => height > 0)
    .map(([index, height]) => {
      const left = (index * width).toFixed(2);
      return `M${left} 20v${(-height).toFixed(2)}h${(width * 0.8).toFixed(2)}V20z`;
    })
    .join("");
}

function ago(index, length) {
  const minutes = length - 1 - index;
  return minutes ? `${minutes} min ago` : "now";
}
