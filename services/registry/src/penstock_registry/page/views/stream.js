/** One stream: how it is, what flows through it, and its files. */

import { Refused, get } from "../api.js";
import { h } from "../dom.js";
import { MEASURES, chart, fold } from "../parts/chart.js";
import { fileTable } from "../parts/files.js";
import { facts, heading, nothing, section } from "../parts/page.js";
import { table } from "../parts/table.js";
import { to } from "../routes.js";
import { advice } from "../show/names.js";
import { ago, count, pace, rate, size } from "../show/units.js";
import { place } from "../show/programs.js";
import { HEALTH, state } from "../show/words.js";
import { lag, speed, states } from "./overview.js";

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
export const unknown = "No stream of this name is known: nothing was heard of it yet, or not for so long that it was forgotten.";
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
  // What is known by the minute ends with the last whole one; an hour is shown before it is over.
  const until = asked < HOUR ? Math.floor(now / asked) * asked : (Math.floor(now / drawn) + 1) * drawn;
  const since = until - seconds;
  const throughput = await get("throughput", { stream, since, until: Math.min(now, until), step: asked }, signal);
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
      ["Into Kafka, now", flow(stream.uploaded)],
      ["Delivered, now", flow(stream.delivered)],
      ["Files", states(stream)],
      ["Last news", ago(stream.last_at, app.now)],
    ]),
    destinations(stream, app),
    throughput(route, data, app),
    files(route, data, app),
  ];
}

const flow = (now) =>
  now.files_per_second || now.bytes_per_second ? `${rate(now.bytes_per_second)}, ${pace(now.files_per_second)}` : "nothing";

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
              [h("bdi", null, one.name), place(app.overview, stream.topic, { destination: one.name })],
              h("div", { class: "lag" }, lag(stream.topic, one, app)),
              speed(one.rate),
              sum(one.delivered),
              h("div", { class: one.rejected.files ? "bad" : undefined }, sum(one.rejected)),
              sum(one.skipped),
              one.last_at ? ago(one.last_at, app.now) : "none yet",
            ],
          })),
        )
      : nothing("Nobody has received from this stream yet: penstock download does."),
    stream.destinations.length > 0 &&
      h("p", { class: "note more" }, "Delivered, rejected and skipped count files as they are now: of a file that changed, the answer to its new version. So a number can go down."),
  );
}

function sum({ files, bytes }) {
  return files ? [h("p", null, count(files, "file")), h("p", { class: "detail" }, size(bytes))] : "none";
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
