/**
 * Throughput over time: a picture with axes and units, a slider that reads it at any point, and a table.
 *
 * The drawing is stretched to the width that there is; its words are ordinary text around it.
 */

import { h } from "../dom.js";
import { count, exact, size } from "../show/units.js";
import { table } from "./table.js";
import { timeTicks, valueTicks } from "./ticks.js";

const WIDTH = 1000;
const HEIGHT = 300;
/** A bucket is drawn as soon as this part of it is over. */
const TELLING = 0.1;

/** What can be measured: how much of a bucket, and in which units, as [word, how many of it one by second is]. */
export const MEASURES = {
  bytes: { word: "Bytes", of: (bucket) => bucket.bytes, units: [["MB/s", 1e-6], ["kB/s", 1e-3], ["B/s", 1]] },
  files: { word: "Files", of: (bucket) => bucket.files, units: [["files/s", 1], ["files/min", 60], ["files/h", 3600]] },
};

/** Return the one unit in which a whole picture is told: the first in which its largest value is 1 or more. */
export function unitFor(measure, most) {
  const { units } = MEASURES[measure];
  const [word, factor] = most ? (units.find(([, each]) => most * each >= 1) ?? units.at(-1)) : units[0];
  return {
    factor,
    tick: (value) => (value ? `${Number(value.toPrecision(4))} ${word}` : "0"),
    shown: (perSecond) => {
      const value = perSecond * factor;
      if (value > 0 && value < 0.05) return `< 0.1 ${word}`;
      return `${value >= 9.95 ? Math.round(value) : value.toFixed(1)} ${word}`;
    },
  };
}

/**
 * Return series as buckets of `step` seconds from `since` to `until`: [{name, label, buckets}], the answer of
 * /throughput folded. What is not in the answer is nothing.
 */
export function fold(throughput, since, until, step, label) {
  const length = Math.max(1, Math.ceil((until - since) / step));
  return throughput.series.map((series) => {
    const buckets = Array.from({ length }, (_, index) => ({ at: since + index * step, files: 0, bytes: 0 }));
    for (const point of series.points) {
      const bucket = buckets[Math.floor((point.at - since) / step)];
      if (bucket) {
        bucket.files += point.files;
        bucket.bytes += point.bytes;
      }
    }
    return { name: series.destination, label: label(series), buckets };
  });
}

/**
 * Return the picture of `series`. `cursor` is the bucket that is read, `move(index)` chooses another. The last
 * bucket may not be over at `now`: it is as long as it is old, and not drawn while that says little.
 */
export function chart({ series, since, until, now, step, measure, cursor, move, tableOpen, openTable }) {
  const { of } = MEASURES[measure];
  const length = series[0]?.buckets.length ?? 0;
  const perSecond = (bucket) => of(bucket) / Math.min(step, Math.max(1, now - bucket.at));
  const values = series.map(({ buckets }) => buckets.map(perSecond));
  const drawn = until - now > step * (1 - TELLING) ? length - 1 : length;
  const over = (one) => one.slice(0, drawn);
  const most = Math.max(0, ...values.flatMap(over));
  const { factor, tick, shown } = unitFor(measure, most);
  const ticks = valueTicks(most * factor);
  const top = ticks.at(-1) / factor;
  const at = cursor ?? Math.max(0, drawn - 1);
  const x = (index) => ((index + 0.5) / length) * WIDTH;
  const y = (value) => HEIGHT - (value / top) * HEIGHT;
  const across = (second) => ((second - since) / (until - since)) * 100;
  return h(
    "figure",
    { class: "chart" },
    legend(series, values, at, shown),
    h(
      "div",
      { class: "plot" },
      h(
        "div",
        { class: "values", "aria-hidden": "true" },
        ticks.map((value) => h("span", { style: { bottom: `${(value / ticks.at(-1)) * 100}%` } }, tick(value))),
      ),
      h(
        "svg",
        {
          role: "img",
          "aria-label": summary(series, values.map(over), shown),
          viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
          preserveAspectRatio: "none",
          onpointermove: (event) => {
            const box = event.currentTarget.getBoundingClientRect();
            const index = Math.floor(((event.clientX - box.left) / box.width) * length);
            move(Math.min(length - 1, Math.max(0, index)));
          },
          onpointerleave: () => move(undefined),
        },
        ticks.map((value) => h("path", { class: "grid", d: `M0 ${y(value / factor)}H${WIDTH}` })),
        series.map((_, index) => line(over(values[index]), index, x, y)),
        cursor !== undefined && h("path", { class: "cursor", d: `M${x(at)} 0V${HEIGHT}` }),
      ),
      h(
        "div",
        { class: "times", "aria-hidden": "true" },
        timeTicks(since, until).map(({ at: second, text, major }) =>
          h("span", { class: major ? "major" : "minor", style: { left: `${across(second)}%` } }, text),
        ),
      ),
      h("input", {
        type: "range",
        min: 0,
        max: length - 1,
        step: 1,
        value: at,
        "aria-label": "Point in time to read",
        "aria-valuetext": reading(series, values, at, step, now, shown),
        oninput: (event) => move(Number(event.currentTarget.value)),
      }),
    ),
    h("p", { class: "reading" }, series.length ? interval(series[0].buckets[at].at, step, now) : ""),
    h(
      "details",
      { ontoggle: (event) => openTable(event.currentTarget.open), open: tableOpen },
      h("summary", null, "As a table"),
      tableOpen && asTable(series, step, now),
    ),
  );
}

function line(values, index, x, y) {
  const points = values.map((value, at) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
  return h(
    "g",
    { class: `series series-${index % 6}` },
    index === 0 && h("path", { class: "area", d: `M${x(0)} ${HEIGHT}L${points}L${x(values.length - 1)} ${HEIGHT}z` }),
    h("path", { class: "line", d: `M${points}` }),
  );
}

function legend(series, values, at, shown) {
  return h(
    "ul",
    { class: "legend" },
    series.map(({ name, label }, index) =>
      h(
        "li",
        { key: name },
        h(
          "svg",
          { class: `swatch series series-${index % 6}`, viewBox: "0 0 28 8", "aria-hidden": "true" },
          h("path", { class: "line", d: "M1 4H27" }),
        ),
        h("bdi", null, label),
        h("span", { class: "value" }, shown(values[index][at])),
      ),
    ),
  );
}

function summary(series, values, shown) {
  const told = series.map(({ label, buckets }, index) => {
    const most = Math.max(...values[index]);
    if (!most) return `${label}: nothing`;
    const mean = values[index].reduce((sum, value) => sum + value, 0) / values[index].length;
    return `${label}: ${shown(mean)} on average, at most ${shown(most)} at ${exact(buckets[values[index].indexOf(most)].at)}`;
  });
  return `Throughput. ${told.join("; ")}.`;
}

function reading(series, values, at, step, now, shown) {
  if (!series.length) return "";
  const told = series.map(({ label }, index) => `${label} ${shown(values[index][at])}`);
  return `${interval(series[0].buckets[at].at, step, now)}: ${told.join(", ")}`;
}

function interval(at, step, now) {
  const date = new Date(at * 1000);
  const day = date.toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short" });
  const clock = (time) => time.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return `${day}, ${clock(date)} to ${at + step > now ? "now, not over yet" : clock(new Date((at + step) * 1000))}`;
}

function asTable(series, step, now) {
  const buckets = series[0]?.buckets ?? [];
  const rows = buckets.map((bucket, index) => ({
    key: bucket.at,
    busy: series.some((one) => one.buckets[index].files),
    cells: [
      interval(bucket.at, step, now),
      ...series.map(({ buckets: own }) =>
        own[index].files ? `${size(own[index].bytes)}, ${count(own[index].files, "file")}` : "–",
      ),
    ],
  }));
  const columns = ["Time", ...series.map(({ label }) => ({ text: label, number: true }))];
  const busy = rows.filter((row) => row.busy).reverse();
  return [
    busy.length < rows.length && h("p", { class: "note" }, "Times in which nothing happened are left out."),
    h("div", { class: "scrolled" }, table("Throughput over time", columns, busy)),
  ];
}
