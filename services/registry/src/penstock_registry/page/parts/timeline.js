/** What happened to an upload, one thing after the other. */

import { h } from "../dom.js";
import { to } from "../routes.js";
import { harmless } from "../show/names.js";
import { duration, exact } from "../show/units.js";
import { STEP, state } from "../show/words.js";

/** Return the history of an upload as a list in order of time. */
export function timeline(upload) {
  return h(
    "ol",
    { class: "timeline", "aria-label": "What happened, in order" },
    upload.history.map((step, index) => {
      const before = upload.history[index - 1];
      const what = step.what === "failed" && step.destination ? "forgone" : step.what;
      return h(
        "li",
        { key: `${step.what}/${step.destination ?? ""}/${step.at}`, class: STEP[what]?.tone },
        h(
          "p",
          { class: "head" },
          state(STEP, what),
          step.destination && h("bdi", { class: "destination" }, step.destination),
          h(
            "time",
            { datetime: new Date(step.at * 1000).toISOString(), title: exact(step.at) },
            clock(step.at, before?.at),
            before && step.at > before.at && h("span", { class: "later" }, ` +${duration(step.at - before.at)}`),
          ),
        ),
        h("p", { class: "text" }, harmless(step.text)),
        step.upload_id && h("p", null, h("a", { href: to("uploads", step.upload_id) }, "See that upload")),
      );
    }),
  );
}

/** The time of day, with the day where it is another one than before. */
function clock(at, before) {
  const date = new Date(at * 1000);
  const time = date.toLocaleTimeString("en-GB");
  const sameDay = before && new Date(before * 1000).toDateString() === date.toDateString();
  return sameDay ? time : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })}, ${time}`;
}
