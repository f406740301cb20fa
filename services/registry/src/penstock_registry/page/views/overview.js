/** All of it at a glance: what went wrong first, then streams, files on their way, and services. */

import { h } from "../dom.js";
import { fileLink, progress } from "../parts/files.js";
import { heading, nothing, section } from "../parts/page.js";
import { sparkline } from "../parts/sparkline.js";
import { table } from "../parts/table.js";
import { to } from "../routes.js";
import { icon } from "../show/icons.js";
import { advice } from "../show/names.js";
import { ago, amount, count, grouped, pace, rate, span } from "../show/units.js";
import { directory, inOrder, task } from "../show/programs.js";
import { FILE, HEALTH, SERVICE, state } from "../show/words.js";
import { lostTable } from "./aside.js";
import { arrival, failures } from "./failures.js";
import { firstRun } from "./first_run.js";

export const title = () => "Overview";

export function render({ app }) {
  const { overview } = app;
  if (!overview) return [heading("Overview"), nothing("Asking the registry …")];
  if (!overview.streams.length) return [heading("Overview"), firstRun(), services(overview, app)];
  return [
    h("div", { class: "headline" }, heading("Overview"), headline(overview)),
    failures(overview, app),
    streams(overview, app),
    inFlight(overview, app),
    services(overview, app),
    lost(overview, app),
    aside(overview),
  ];
}

function headline(overview) {
  const worst = ["failing", "warning"].find((health) => overview.streams.some((one) => one.health === health));
  const silent = overview.services.filter((service) => service.state === "silent").length;
  const told = [
    overview.failures_total > 0 && arrival(overview),
    worst && !overview.failures_total && "a stream needs a look",
    silent > 0 && `${count(silent, "service")} silent`,
  ].filter(Boolean);
  const rateNow = overview.streams.reduce((sum, stream) => sum + stream.delivered.bytes_per_second, 0);
  const now = `${rate(rateNow)} in ${count(overview.streams.length, "stream")}`;
  const tone = overview.failures_total || worst === "failing" ? "bad" : told.length ? "doubt" : "good";
  return h(
    "p",
    { class: "summary" },
    h("span", { class: `state ${tone}` }, icon(told.length ? "warning" : "check"), told.join(", ") || "Nothing went wrong"),
    h("span", { class: "now" }, now),
  );
}

function streams(overview, app) {
  return section(
    "streams",
    "Streams",
    table(
      "Streams",
      ["Stream", "Health", "Last hour", { text: "Now", number: true }, "Lag of destinations", "Files"],
      overview.streams.map((stream) => ({
        key: stream.topic,
        cells: [
          h("a", { href: to("streams", stream.topic), class: "stream-link" }, stream.topic),
          [
            state(HEALTH, stream.health),
            stream.problems.map((problem) => h("p", { class: "detail", key: problem }, advice(problem))),
          ],
          sparkline(stream.bytes_by_minute),
          speed(stream.destinations.length ? stream.delivered : stream.uploaded),
          lags(stream, app),
          states(stream),
        ],
      })),
    ),
  );
}

/** How fast something is now. Of a stream that is what arrives; where there is no destination yet, what leaves. */
export function speed(now) {
  if (!now.files_per_second && !now.bytes_per_second) return h("p", { class: "pace" }, "nothing");
  return [h("p", { class: "rate" }, rate(now.bytes_per_second)), h("p", { class: "pace" }, pace(now.files_per_second))];
}

/** The lag of each destination. */
function lags(stream, app) {
  if (!stream.destinations.length) return h("p", { class: "detail" }, "No destination yet");
  return h(
    "ul",
    { class: "lags" },
    stream.destinations.map((destination) =>
      h("li", { key: destination.name }, h("bdi", { class: "destination" }, destination.name), lag(stream.topic, destination, app)),
    ),
  );
}

/** How far one destination is behind, with links to the files that are concerned. */
export function lag(topic, { name, lag: behind, rejected, last_at: lastAt }, app) {
  const its = (state) => to("files", "", { stream: topic, destination: name, state });
  const quiet = lastAt ? app.now - lastAt : 0;
  if (!behind.files && !rejected.files) return h("span", { class: "state good" }, icon("check"), "up to date");
  return [
    behind.files
      ? h("a", { class: "state busy", href: its("uploaded") }, icon("clock"), `${amount(behind)} behind`)
      : h("span", { class: "state quiet" }, icon("check"), "nothing waits"),
    rejected.files > 0 && h("a", { class: "state bad", href: its("rejected") }, icon("cross"), `${grouped(rejected.files)} rejected`),
    behind.files > 0 && quiet > 60 && h("span", { class: "detail" }, `quiet for ${span(quiet)}`),
  ];
}

/** Files by state, as links to them. */
export function states(stream) {
  const present = Object.keys(FILE).filter((name) => stream.files[name]?.files);
  return h(
    "ul",
    { class: "states" },
    present.map((name) =>
      h(
        "li",
        { key: name },
        h(
          "a",
          { href: to("files", "", { stream: stream.topic, state: name }), class: `state ${FILE[name].tone}` },
          icon(FILE[name].icon),
          `${grouped(stream.files[name].files)} ${FILE[name].word.replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase())}`,
        ),
      ),
    ),
  );
}

/** What is being sent is shown in full; of what waits in Kafka the rest is counted. */
const WAITING_SHOWN = 10;

function inFlight({ in_flight: files }, app) {
  const waiting = files.filter((file) => file.state !== "uploading");
  const unseen = new Set(waiting.slice(WAITING_SHOWN));
  return section(
    "in-flight",
    "On their way",
    files.length
      ? h(
          "ul",
          { class: "in-flight" },
          files
            .filter((file) => !unseen.has(file))
            .map((file) =>
              h(
                "li",
                { key: file.id },
                h("p", { class: "what" }, fileLink(file, 70), h("a", { class: "in-stream", href: to("streams", file.stream) }, file.stream)),
                progress(file, app),
              ),
            ),
        )
      : nothing("No file is on its way."),
    unseen.size > 0 &&
      h("p", { class: "note more" }, `${grouped(unseen.size)} more wait for a destination: “behind”, above, leads to all of them.`),
  );
}

function services(overview, app) {
  if (!overview.services.length) return section("services", "Services", nothing("No service has been heard of."));
  return section(
    "services",
    "Services",
    h(
      "ul",
      { class: "services" },
      inOrder(overview.services).map((service) =>
        h(
          "li",
          { key: `${service.kind}/${service.program_id}` },
          state(SERVICE, service.state),
          h("bdi", { class: "service" }, `${service.service} on ${service.host || service.program_id}`),
          service.state !== "alive" && h("span", { class: "detail" }, "last heard ", ago(service.last_at, app.now)),
          task(service),
          directory(service) && h("p", { class: "detail" }, directory(service)),
          service.problems.map((problem) => h("p", { class: "detail", key: problem }, advice(problem))),
        ),
      ),
    ),
    h("p", { class: "more" }, h("a", { href: to("services") }, "All about the services")),
  );
}

function lost(overview, app) {
  if (!overview.lost.length) return null;
  return section(
    "lost",
    "Lost in Kafka",
    h(
      "p",
      null,
      "Records were gone before a destination had read them: its topic keeps them too short a time. The source sends again what it still has.",
    ),
    lostTable(overview.lost, app),
  );
}

function aside({ problems_total: total }) {
  if (!total) return null;
  return section(
    "aside",
    "Kept aside",
    h("p", null, h("a", { href: to("aside") }, count(total, "record")), " on the events topics could not be read, and stand aside."),
  );
}
