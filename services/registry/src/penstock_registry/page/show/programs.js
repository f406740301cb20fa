/** Programs that send heartbeats, as people know them: by what they do, from where, for whom. */

import { h } from "../dom.js";
import { harmless } from "./names.js";

const SEVERITY = ["silent", "alive", "stopped"];

/** Return programs in an order that no heartbeat changes: those that are silent first, then by name. */
export function inOrder(services) {
  const key = ({ state, service, status, host, program_id: id }) =>
    [SEVERITY.indexOf(state), service, text(status.topic), whom(status), host, id].join("\0");
  return services
    .map((service) => [key(service), service])
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([, service]) => service);
}

const text = (value) => (typeof value === "string" ? value : "");
const whom = (status) => text(status.destination) || text(status.source_id);

/** Return what a program works on: `scope → archive`, `vm_src → scope`; null for one that does not say it. */
export function task({ status }) {
  const topic = text(status.topic);
  const ends = text(status.destination) ? [topic, status.destination] : [text(status.source_id), topic];
  const told = ends.filter(Boolean);
  if (!told.length) return null;
  return h(
    "p",
    { class: "task" },
    told.map((end, index) => [index > 0 && " → ", harmless(end)]),
  );
}

/** Return the directory that a program sends or fills; null for one that does not say it. */
export function directory({ status }) {
  return text(status.directory) ? h("code", null, harmless(status.directory)) : null;
}

/** Return where a destination (or a source) of a stream is, as its programs say: null if none has. */
export function place(overview, topic, { destination, source }) {
  const its = (overview?.services ?? []).filter(
    ({ status }) =>
      text(status.topic) === topic &&
      (destination === undefined ? text(status.source_id) === source : text(status.destination) === destination),
  );
  const [newest] = its.sort((one, other) => other.last_at - one.last_at);
  if (!newest || !text(newest.status.directory)) return null;
  const hosts = new Set(its.map((service) => service.host));
  return h("p", { class: "detail" }, directory(newest), hosts.size === 1 && [" on ", harmless(newest.host)]);
}
