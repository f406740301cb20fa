/** The life of one file, from its closing at the source to the receipts of its destinations. */

import { get } from "../api.js";
import { h } from "../dom.js";
import { copyButton, copyable } from "../parts/copy.js";
import { progress } from "../parts/files.js";
import { facts, heading, nothing, section } from "../parts/page.js";
import { table } from "../parts/table.js";
import { timeline } from "../parts/timeline.js";
import { to } from "../routes.js";
import { fileState } from "../show/arrival.js";
import { icon } from "../show/icons.js";
import { advice, harmless, name, path, plain } from "../show/names.js";
import { place } from "../show/programs.js";
import { reasonWords } from "../show/reasons.js";
import { ago, duration, size, when } from "../show/units.js";
import { FILE, state } from "../show/words.js";

const NAME_LENGTH = 80;

export const title = (_, data) => (data ? plain(data.path, data.path_base64).split("/").at(-1).slice(0, NAME_LENGTH) : "File");

export const unknown = "No such file is known: its address is incomplete, or it was so long ago that it was forgotten.";

export const load = (route, signal) => get(`files/${encodeURIComponent(route.name)}`, {}, signal);

export function render({ data: file, app }) {
  if (!file) return [heading("File"), nothing("Asking the registry …")];
  return [
    h(
      "div",
      { class: "headline" },
      heading(name(file, NAME_LENGTH)),
      h("p", { class: "summary" }, fileState(file), h("span", { class: "now" }, ago(file.last_at, app.now))),
    ),
    trouble(file),
    facts([
      ["Path", h("span", { class: "copyable" }, path(file), copyButton(plain(file.path, file.path_base64), "the path", app)), true],
      ["Stream", h("a", { href: to("streams", file.stream) }, file.stream)],
      ["Source", [harmless(file.source), place(app.overview, file.stream, { source: file.source })]],
      ["Size", size(file.size)],
      ["BLAKE3", file.digest && copyable(file.digest, "the digest", app), true],
    ]),
    file.state === "uploading" && progress(file, app),
    destinations(file, app),
    life(file),
  ];
}

function trouble(file) {
  if (!file.detail && !file.advice) return null;
  const bad = file.state === "rejected" || file.state === "failed";
  return h(
    "div",
    { class: `trouble ${bad ? "bad" : "doubt"}` },
    h("p", { class: "why" }, why(file)),
    file.advice && h("p", { class: "advice" }, advice(file.advice)),
  );
}

/** Whose words it are, the reason, and the detail. */
function why({ by, reason, detail }) {
  return [by && [harmless(by), ": "], reason && reasonWords(reason), reason && detail && " – ", detail && harmless(detail)];
}

function destinations(file, app) {
  const receipts = new Map();
  for (const upload of file.uploads) {
    for (const receipt of upload.receipts) receipts.set(`${receipt.upload_id}/${receipt.destination}`, receipt);
  }
  const known = app.overview?.streams.find((stream) => stream.topic === file.stream)?.destinations ?? [];
  const destinationCell = (name) => [h("bdi", null, name), place(app.overview, file.stream, { destination: name })];
  const silent = known
    .map((destination) => destination.name)
    .filter((one) => !file.answers.some((answer) => answer.destination === one));
  return section(
    "receipts",
    "Receipts",
    file.answers.length || silent.length
      ? table(
          "Receipts of the destinations",
          ["Destination", "Answer", "BLAKE3 of what it has", "When", { text: "After closing", number: true }],
          [
            ...file.answers.map((answer) => {
              const receipt = receipts.get(`${answer.upload_id}/${answer.destination}`);
              return {
                key: answer.destination,
                cells: [
                  destinationCell(answer.destination),
                  [
                    state(FILE, answer.outcome),
                    !answer.current && h("p", { class: "detail" }, "This is about an earlier version."),
                    (answer.reason || answer.detail) && h("p", { class: "detail" }, why({ reason: answer.reason, detail: answer.detail })),
                    file.failed_for === answer.destination && h("p", { class: "detail" }, "The source does not send it there again by itself."),
                    receipt?.delivered_as && h("p", { class: "detail" }, "There its name is ", path(receipt, 90, "delivered_as")),
                  ],
                  answer.digest ? copyable(answer.digest, `the digest of ${answer.destination}`, app, `${answer.digest.slice(0, 16)}…`) : "none",
                  ago(answer.at, app.now),
                  receipt?.visible_at && receipt.closed_at ? duration(receipt.visible_at - receipt.closed_at) : "–",
                ],
              };
            }),
            ...silent.map((destination) => ({
              key: destination,
              cells: [destinationCell(destination), h("span", { class: "state quiet" }, icon("clock"), "No answer yet"), "none", "–", "–"],
            })),
          ],
        )
      : nothing("No destination has answered yet."),
  );
}

function life(file) {
  if (!file.uploads.length) return section("life", "Life", nothing("It has been seen at the source; its upload has not begun."));
  const newest = file.uploads[0];
  return section(
    "life",
    "Life",
    versions(file.uploads).map(({ id, uploads }, index, all) =>
      h(
        "div",
        { class: "version", key: id },
        all.length > 1 &&
          h(
            "h3",
            null,
            index === 0 ? "The version at the source now" : "An earlier version",
            h("span", { class: "detail" }, ` ${versionSize(uploads)}`),
          ),
        uploads.map((upload) => sending(upload, upload === newest, file.uploads.length > 1)),
      ),
    ),
  );
}

/** Uploads by the content that they carry, the newest first. */
function versions(uploads) {
  const found = new Map();
  for (const upload of uploads) {
    const id = upload.version_id ?? upload.id;
    if (!found.has(id)) found.set(id, { id, uploads: [] });
    found.get(id).uploads.push(upload);
  }
  return [...found.values()];
}

function versionSize(uploads) {
  const known = uploads.find((upload) => upload.size !== null);
  return known ? size(known.size) : "";
}

function sending(upload, open, several) {
  const content = [timeline(upload), h("p", { class: "more" }, h("a", { href: to("uploads", upload.id) }, "All about this upload"))];
  if (!several) return h("div", { class: "sending", key: upload.id }, content);
  return h(
    "details",
    { class: "sending", key: upload.id, open },
    h("summary", null, "Upload of ", when(upload.closed_at ?? upload.first_at), " ", state(FILE, upload.state)),
    content,
  );
}
