/** What did not arrive: by stream, by who refused it and why, each with what to do, and its files. */

import { h } from "../dom.js";
import { fileLink } from "../parts/files.js";
import { section } from "../parts/page.js";
import { to } from "../routes.js";
import { fileState, isSomewhere } from "../show/arrival.js";
import { icon } from "../show/icons.js";
import { advice, harmless } from "../show/names.js";
import { reasonWords } from "../show/reasons.js";
import { ago, count, grouped } from "../show/units.js";
import { FILE } from "../show/words.js";

const FILES_SHOWN = 3;

/** Return how many files are concerned, in words. */
export function arrival({ failures, failures_total: total }) {
  return `${count(total, "file")} did not arrive${failures.some(isSomewhere) ? " everywhere" : ""}`;
}

/** Return the failures of an overview as a section; null where there are none. */
export function failures(overview, app) {
  const { failures: files, failures_total: total } = overview;
  if (!total) return null;
  const whole = total <= files.length;
  return section(
    "failures",
    arrival(overview),
    h(
      "ul",
      { class: "failures" },
      grouping(files).map(([key, alike]) => h("li", { key }, group(alike, whole, app))),
    ),
    !whole &&
      h(
        "p",
        { class: "more" },
        `Above are the newest ${grouped(files.length)}. `,
        h("a", { href: to("files", "", { state: "rejected,failed" }) }, `All ${grouped(total)} of them`),
      ),
  );
}

/** Return files that failed alike, as [key, files]; what failed last comes first. */
function grouping(files) {
  const groups = new Map();
  for (const file of files) {
    const key = JSON.stringify([file.stream, file.state, file.by, file.reason]);
    groups.set(key, [...(groups.get(key) ?? []), file]);
  }
  return [...groups];
}

function group(files, whole, app) {
  const [newest] = files;
  const details = new Set(files.map((file) => file.detail));
  const alike = details.size === 1;
  return h(
    "article",
    { class: "failure" },
    h("h3", null, h("span", { class: "state bad" }, icon(FILE[newest.state].icon), h("span", null, what(files, whole)))),
    alike && newest.detail && h("p", { class: "why" }, harmless(newest.detail)),
    newest.advice && h("p", { class: "advice" }, advice(newest.advice)),
    h(
      "ul",
      { class: "examples" },
      files.slice(0, FILES_SHOWN).map((file) =>
        h(
          "li",
          { key: file.id },
          fileLink(file),
          h("p", { class: "detail" }, fileState(file), " ", ago(file.last_at, app.now)),
          !alike && file.detail && h("p", { class: "detail" }, harmless(file.detail)),
        ),
      ),
    ),
    (files.length > FILES_SHOWN || !whole) && h("p", { class: "more" }, all(newest)),
  );
}

/** Who did what to how many files, and why. */
function what(files, whole) {
  const [{ state, stream, by, reason }] = files;
  const number = `${whole ? "" : "at least "}${count(files.length, "file")}`;
  const link = h("a", { href: to("streams", stream) }, stream);
  const why = reason ? `: ${reasonWords(reason)}` : "";
  if (state === "failed") return [`The source failed to send ${number} of `, link, why];
  return [by ? harmless(by) : "A destination", ` rejected ${number} of `, link, why];
}

function all({ state, stream, by }) {
  const query = { stream, destination: state === "rejected" ? by : undefined, state };
  const words = state === "failed" ? "All files that the source failed to send" : ["All files that ", by ? harmless(by) : "a destination", " rejected"];
  return h("a", { href: to("files", "", query) }, words);
}
