/** One stream: how it is, what flows through it, and its files. */

import { Refused, get } from "../api.js";
import { h } from "../dom.js";
import { MEASURES, chart, fold } from "../parts/chart.js";
import { fileTable } from "../parts/files.js";
import { facts, heading, nothing, section } from "../parts/page.js";
import { table } from "../parts/table.js";
import { to } from "../routes.js";
import { advice } from "../show/names.js";
import { ago, amount, pace, rate } from "../show/units.js";
import { FILE, HEALTH, state } from "../show/words.js";
import { lags, states } from "./overview.js";

/** How much time a picture shows: its seconds, the step that is asked for, and the step that is drawn. */
const RANGES = {
  "1h": { word: "1 hour", seconds: 3600, asked: 60, drawn: 60 },
  "24h": { word: "24 hours", seconds: 86_400, asked: 60, drawn: 600 },
  "7d": { word: "7 days", seconds: 7 * 86_400, asked: 3600, drawn: 3600 },
  "30d": { word: "30 days", seconds: 30 * 86_400, asked: 3600, drawn: 4 * 3600 },
};
const HOUR = 3600;
const FILES_SHOWN = 10;

export const title = ({ name }) => name;
export const reloadAfterMs = 5_000;

export async function load({ name, query }, signal) {
  const range = RANGES[query.range] ?? RANGES["1h"];
  const [stream, picture, files] = await Promise.all([
    get(`streams/${encodeURIComponent(name)}`, {}, signal),
    picturing(name, range, signal).catch((error) => {
      // More points than the registry gives: many destinations.
      if (error instanceof Refused && error.status === 400 && range.asked < HOUR) {
        return picturing(name, { ...range, asked: HOUR, drawn: HOUR }, signal);
      }
      throw error;
    }),
    get("files", { stream: name, limit: FILES_SHOWN }, signal),
  ]);
  return { stream, picture, files };
}

async function picturing(stream, { seconds, asked, drawn }, signal) {
  const now = Math.ceil(Date.now() / 1000);
  const until = (Math.floor(now / drawn) + 1) * drawn;
  const since = until - seconds;
  const throughput = await get("throughput", { stream, since, until: now, step: asked }, signal);
  return { throughput, since, until, now, step: drawn };
}

export function render({ route, data, app }) {
  if (!data) return [heading(route.name), nothing("Asking the registry …")];
  // The overview may be younger than what was loaded.
  const stream = app.overview?.streams.find((one) => one.topic === route.name) ?? data.stream;
  return [
    h("div", { class: "headline" }, heading(route.name), h("p", { class: "summary" }, state(HEALTH, stream.health))),
    stream.problems.map((problem) => h("p", { class: "problem", key: problem }, advice(problem))),
    facts([
      ["Into Kafka, now", `${rate(stream.uploaded.bytes_per_second)}, ${pace(stream.uploaded.files_per_second)}`],
      ["Delivered, now", `${rate(stream.delivered.bytes_per_second)}, ${pace(stream.delivered.files_per_second)}`],
      ["Files", states(stream)],
      ["Last news", ago(stream.last_at, app.now)],
    ]),
    destinations(stream, app),
    throughput(route, data, app),
    files(route, data, app),
  ];
}

function destinations(stream, app) {
  return section(
    "destinations",
    "Destinations",
    stream.destinations.length
      ? table(
          "Destinations",
          ["Destination", "Lag", { text: "Now", number: true }, "Delivered", "Rejected", "Skipped", "Last answer"],
          stream.destinations.map((one) => ({
            key: one.name,
            cells: [
              h("bdi", null, one.name),
              one.lag.files ? `${amount(one.lag)} behind` : state({ ok: { ...HEALTH.ok, word: "up to date" } }, "ok"),
              [h("p", { class: "rate" }, rate(one.rate.bytes_per_second)), h("p", { class: "pace" }, pace(one.rate.files_per_second))],
              amount(one.delivered),
              one.rejected.files ? h("span", { class: "state bad" }, amount(one.rejected)) : "none",
              one.skipped.files ? amount(one.skipped) : "none",
              one.last_at ? ago(one.last_at, app.now) : "none yet",
            ],
          })),
        )
      : nothing("Nobody has received from this stream yet: penstock download does."),
  );
}

function throughput(route, data, app) {
  const range = route.query.range in RANGES ? route.query.range : "1h";
  const measure = route.query.measure in MEASURES ? route.query.measure : "bytes";
  const { throughput: answer, since, until, now, step } = data.picture;
  const label = (series) => series.destination || "Into Kafka";
  const series = fold(answer, since, until, step, label).sort((one, other) => (one.name < other.name ? -1 : 1));
  const choice = (name, words, chosen) =>
    h(
      "ul",
      { class: "choice", "aria-label": name },
      Object.entries(words).map(([key, { word }]) =>
        h(
          "li",
          { key },
          h(
            "a",
            {
              href: to("streams", route.name, { range, measure, [name === "Time" ? "range" : "measure"]: key }),
              "aria-current": key === chosen ? "true" : undefined,
            },
            word,
          ),
        ),
      ),
    );
  return section(
    "throughput",
    "Throughput",
    h("div", { class: "choices" }, choice("Time", RANGES, range), choice("Measure", MEASURES, measure)),
    series.length
      ? chart({
          series,
          since,
          until,
          now,
          step,
          measure,
          cursor: app.local.cursor,
          move: (cursor) => app.change({ cursor }),
          tableOpen: app.local.tableOpen ?? false,
          openTable: (tableOpen) => app.change({ tableOpen }),
        })
      : nothing(`Nothing went through in the last ${RANGES[range].word}.`),
  );
}

function files(route, data, app) {
  return section(
    "files",
    "Newest files",
    data.files.items.length
      ? fileTable(data.files.items, app, { caption: `Newest files of ${route.name}`, streams: false })
      : nothing("No file yet."),
    h("p", { class: "more" }, h("a", { href: to("files", "", { stream: route.name }) }, "All files of this stream")),
  );
}
