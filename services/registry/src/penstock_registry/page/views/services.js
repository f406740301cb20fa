/** The programs that send heartbeats. */

import { get } from "../api.js";
import { h } from "../dom.js";
import { heading, nothing } from "../parts/page.js";
import { table } from "../parts/table.js";
import { advice, harmless } from "../show/names.js";
import { directory, inOrder, task } from "../show/programs.js";
import { ago, count, size, span } from "../show/units.js";
import { SERVICE, state } from "../show/words.js";

export const title = () => "Services";

export const load = (_, signal) => get("services", {}, signal);

export function render({ data, app }) {
  if (!data) return [heading("Services"), nothing("Asking the registry …")];
  if (!data.items.length) return [heading("Services"), nothing("No service has been heard of yet.")];
  return [
    heading("Services"),
    table(
      "Services",
      ["Service", "State", "Last heard", "Read", "Processed", "Produced"],
      inOrder(data.items).map((service) => ({ key: `${service.kind}/${service.program_id}`, cells: cells(service, app) })),
    ),
  ];
}

function cells(service, app) {
  return [
    [
      h("p", { class: "service" }, harmless(`${service.service} on ${service.host || service.program_id}`)),
      task(service),
      directory(service) && h("p", { class: "detail" }, directory(service)),
      h("p", { class: "detail" }, harmless(service.program_id), service.version && ` · ${service.version}`, service.kind === "openmsi" && " · OpenMSIStream"),
    ],
    [
      state(SERVICE, service.state),
      service.problems.map((problem) => h("p", { class: "detail", key: problem }, advice(problem))),
      status(service.status),
    ],
    [
      ago(service.last_at, app.now),
      service.interval_seconds > 0 && h("p", { class: "detail" }, `every ${span(service.interval_seconds)}`),
      h("p", { class: "detail" }, "first ", ago(service.first_at, app.now)),
    ],
    counted(service.totals, "read"),
    counted(service.totals, "processed"),
    counted(service.totals, "produced"),
  ];
}

function counted(totals, what) {
  const messages = totals[`n_messages_${what}`] ?? 0;
  const bytes = totals[`n_bytes_${what}`] ?? 0;
  if (!messages && !bytes) return "–";
  return [bytes > 0 && h("p", null, size(bytes)), messages > 0 && h("p", { class: "detail" }, count(messages, "message"))];
}

/** What programs say of themselves, in words. What else they may say is shown as they call it. */
const SAID = {
  topic: "Stream",
  destination: "Destination",
  source_id: "Source",
  directory: "Directory",
  partitions: "Partitions",
  files_in_flight: "Files being sent",
};
/** What is shown elsewhere: the state, how often it is heard of, its problems. */
const SHOWN_ELSEWHERE = new Set(["state", "interval_seconds", "problems"]);

function status(said) {
  const entries = Object.entries(said).filter(([name]) => !SHOWN_ELSEWHERE.has(name));
  if (!entries.length) return null;
  return h(
    "details",
    null,
    h("summary", null, "What it says"),
    h(
      "dl",
      { class: "facts" },
      entries.map(([name, value]) => h("div", { key: name }, h("dt", null, Object.hasOwn(SAID, name) ? SAID[name] : harmless(inWords(name))), h("dd", null, inText(value)))),
    ),
  );
}

const inWords = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

function inText(value) {
  if (value === null || value === undefined || value === "") return "none";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.length ? value.flatMap((one, index) => (index ? [", ", inText(one)] : [inText(one)])) : "none";
  if (typeof value === "object") {
    const pairs = Object.entries(value);
    return pairs.length ? pairs.map(([name, one]) => h("p", { key: name }, harmless(inWords(name)), ": ", inText(one))) : "none";
  }
  return harmless(String(value));
}
