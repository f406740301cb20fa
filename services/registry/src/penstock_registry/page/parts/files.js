/** Files in a table, and how far the ones on their way are. */

import { h } from "../dom.js";
import { to } from "../routes.js";
import { after, fileState, rejectedOnTheWay, spoken } from "../show/arrival.js";
import { harmless, path, shortened } from "../show/names.js";
import { reasonWords } from "../show/reasons.js";
import { ago, rate, size, span } from "../show/units.js";
import { table } from "./table.js";

const NAME_LENGTH = 90;

/** Return a link to the life of a file. */
export function fileLink(file, most = NAME_LENGTH) {
  return h("a", { href: to("files", file.id), class: "file-link" }, path(file, most));
}

/** Return a table of files; with their streams, unless all are of one. */
export function fileTable(files, app, { caption, streams = true }) {
  return table(
    caption,
    ["File", streams && "Stream", "State", { text: "Size", number: true }, "Last news"],
    files.map((file) => ({
      key: file.id,
      cells: [
        fileLink(file),
        streams && h("a", { href: to("streams", file.stream) }, file.stream),
        [fileState(file), why(file)],
        size(file.size),
        ago(file.last_at, app.now),
      ],
    })),
  );
}

/** Return why a file is in a state that needs a reason. */
function why({ reason, detail }) {
  if (!reason && !detail) return null;
  return h("p", { class: "detail" }, reason && reasonWords(reason), reason && detail && ": ", detail && harmless(detail));
}

/** Return how far a file on its way is: a progress bar and the same in words. */
export function progress(file, app) {
  const sending = file.state === "uploading";
  const done = sending ? file.bytes_done : file.size;
  const words = sending ? [sent(file, app.speeds.of(file.id)), ...after(" · ", rejectedOnTheWay(file))] : [fileState(file), ` · ${size(file.size)}`];
  return h(
    "div",
    { class: `progress ${sending ? "" : "waiting"}` },
    h("progress", {
      max: Math.max(1, file.size),
      value: file.size ? done : 1,
      "aria-label": `Upload of ${shortened(file.path, 60, file.path_base64)}`,
      "aria-valuetext": words.map(spoken).join(""),
    }),
    h("p", { class: "words" }, words),
  );
}

/** How much of a file is in Kafka, and how fast it grows, in words. */
function sent(file, speed) {
  const done = file.bytes_done;
  return [
    `${percent(done, file.size)} %`,
    `${size(done)} of ${size(file.size)}`,
    speed > 0 && rate(speed),
    speed > 0 && done < file.size && `${span((file.size - done) / speed)} left`,
  ]
    .filter(Boolean)
    .join(" · ");
}

/** Rounded down: nothing is complete before it is. */
function percent(done, all) {
  return all ? Math.floor((done / all) * 100) : 100;
}
