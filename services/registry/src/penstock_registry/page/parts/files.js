/** Files in a table, and how far the ones on their way are. */

import { h } from "../dom.js";
import { to } from "../routes.js";
import { harmless, path, shortened } from "../show/names.js";
import { ago, rate, size, span } from "../show/units.js";
import { FILE, state } from "../show/words.js";
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
        [fileLink(file), file.detail && h("p", { class: "detail" }, harmless(file.detail))],
        streams && h("a", { href: to("streams", file.stream) }, file.stream),
        state(FILE, file.state),
        size(file.size),
        ago(file.last_at, app.now),
      ],
    })),
  );
}

/** Return how far a file on its way is: a progress bar and the same in words. */
export function progress(file, app) {
  const inKafka = file.state === "uploaded";
  const done = inKafka ? file.size : file.bytes_done;
  const speed = app.speeds.of(file.id);
  const words = inKafka
    ? `${size(file.size)} in Kafka, ${waiting(file, app.overview)}`
    : [
        `${percent(done, file.size)} %`,
        `${size(done)} of ${size(file.size)}`,
        speed > 0 && rate(speed),
        speed > 0 && done < file.size && `${span((file.size - done) / speed)} left`,
      ]
        .filter(Boolean)
        .join(" · ");
  return h(
    "div",
    { class: `progress ${inKafka ? "waiting" : ""}` },
    h("progress", {
      max: Math.max(1, file.size),
      value: file.size ? done : 1,
      "aria-label": `Upload of ${shortened(file.path, 60, file.path_base64)}`,
      "aria-valuetext": words,
    }),
    h("p", { class: "words" }, words),
  );
}

/** Rounded down: nothing is complete before it is. */
function percent(done, all) {
  return all ? Math.floor((done / all) * 100) : 100;
}

/** Which destinations have not answered for what is in Kafka, in words. */
function waiting(file, overview) {
  const destinations = overview?.streams.find((stream) => stream.topic === file.stream)?.destinations ?? [];
  const answered = new Set(file.answers.filter((answer) => answer.current).map((answer) => answer.destination));
  const missing = destinations.map((destination) => destination.name).filter((name) => !answered.has(name));
  if (!destinations.length) return "and no destination has answered yet";
  if (missing.length > 3) return `waiting for ${missing.length} destinations`;
  return `waiting for ${missing.join(", ") || "nobody"}`;
}
