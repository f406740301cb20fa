/** One sending of one file, with everything that was said about it. */

import { get } from "../api.js";
import { h } from "../dom.js";
import { copyable } from "../parts/copy.js";
import { facts, heading, nothing, section } from "../parts/page.js";
import { table } from "../parts/table.js";
import { timeline } from "../parts/timeline.js";
import { to } from "../routes.js";
import { advice, harmless, path } from "../show/names.js";
import { reasonWords } from "../show/reasons.js";
import { ago, duration, grouped, size } from "../show/units.js";
import { FILE, state } from "../show/words.js";

export const title = ({ name }) => `Upload ${name.slice(0, 8)}`;

export const unknown = "No such upload is known: its address is incomplete, or it was so long ago that it was forgotten.";

export const load = ({ name }, signal) => get(`uploads/${encodeURIComponent(name)}`, {}, signal);

export function render({ data: upload, app }) {
  if (!upload) return [heading("Upload"), nothing("Asking the registry …")];
  return [
    h("div", { class: "headline" }, heading("Upload"), h("p", { class: "summary" }, state(FILE, upload.state))),
    facts([
      ["Id", copyable(upload.id, "the id", app), true],
      ["File", upload.file_id && h("a", { href: to("files", upload.file_id) }, path(upload, 200)), true],
      ["Stream", h("a", { href: to("streams", upload.stream) }, upload.stream)],
      ["Source", upload.source && harmless(upload.source)],
      ["For", upload.to.length ? upload.to.join(", ") : "all destinations"],
      ["Size", upload.size !== null && size(upload.size)],
      ["BLAKE3", upload.digest && copyable(upload.digest, "the digest", app), true],
      ["Sent again as", upload.version_id && upload.version_id !== upload.id && h("a", { href: to("uploads", upload.version_id) }, "the same content as an earlier upload")],
      ["In Kafka", place(upload)],
      ["Took", upload.seconds !== null && upload.seconds !== undefined && duration(upload.seconds)],
      ["Given up", upload.abort_reason && harmless(upload.abort_reason)],
    ]),
    section("receipts", "Receipts", receipts(upload, app)),
    section("history", "History", upload.history.length ? timeline(upload) : nothing("Nothing is known of it.")),
  ];
}

function place({ partition, first_offset: first, last_offset: last }) {
  if (partition === null) return null;
  const offsets = first === null ? "" : `, offsets ${grouped(first)} to ${last === null ? "…" : grouped(last)}`;
  return `partition ${partition}${offsets}`;
}

function receipts(upload, app) {
  if (!upload.receipts.length) return nothing("No destination has answered yet.");
  return table(
    "Receipts",
    ["Destination", "Answer", "BLAKE3 of what it has", "When", "Decided at"],
    upload.receipts.map((receipt) => ({
      key: receipt.destination,
      cells: [
        h("bdi", null, receipt.destination),
        [
          state(FILE, receipt.outcome),
          receipt.reason && h("p", { class: "detail" }, reasonWords(receipt.reason)),
          receipt.detail && h("p", { class: "detail" }, harmless(receipt.detail)),
          receipt.advice && h("p", { class: "detail" }, advice(receipt.advice)),
          receipt.delivered_as && h("p", { class: "detail" }, "There its name is ", path(receipt, 90, "delivered_as")),
        ],
        receipt.digest ? copyable(receipt.digest, `the digest of ${receipt.destination}`, app, `${receipt.digest.slice(0, 16)}…`) : "none",
        ago(receipt.at, app.now),
        `partition ${receipt.partition}, offset ${grouped(receipt.offset)}`,
      ],
    })),
  );
}
