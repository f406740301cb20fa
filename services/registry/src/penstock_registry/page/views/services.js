/** The programs that send heartbeats. */

import { get } from "../api.js";
import { h } from "../dom.js";
import { heading, nothing } from "../parts/page.js";
import { table } from "../parts/table.js";
import { advice, harmless } from "../show/names.js";
import { ago, grouped, size, span } from "../show/units.js";
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
      data.items.map((service) => ({ key: `${service.kind}/${service.program_id}`, cells: cells(service, app) })),
    ),
  ];
}

function cells(service, app) {
  return [
    [
      h("p", { class: "service" }, harmless(`${service.service} on ${service.host}`)),
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
  return [h("p", null, size(bytes)), h("p", { class: "detail" }, `${grouped(messages)} message${messages === 1 ? "" : "s"}`)];
}

function status(said) {
  const entries = Object.entries(said);
  if (!entries.length) return null;
  return h(
    "details",
    null,
    h("summary", null, "What it says"),
    h(
      "dl",
      { class: "facts" },
      entries.map(([name, value]) =>
        h("div", { key: name }, h("dt", null, harmless(name)), h("dd", null, harmless(typeof value === "string" ? value : JSON.stringify(value)))),
      ),
    ),
  );
}
