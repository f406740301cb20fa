/** What someone sees who has just started the registry. */

import { h } from "../dom.js";
import { section } from "../parts/page.js";

const COMMANDS = [
  ["Send what a directory holds", "penstock watch DIRECTORY --topic scope"],
  ["Receive it somewhere else", "penstock download DIRECTORY --topic scope"],
  ["Or see it work first, with a Kafka of its own", "penstock demo"],
];

export function firstRun() {
  return section(
    "first-run",
    "No stream yet",
    h("p", null, "The registry listens. A stream appears here, by itself, as soon as its first file is seen:"),
    h(
      "dl",
      { class: "commands" },
      COMMANDS.map(([what, command]) => h("div", { key: command }, h("dt", null, what), h("dd", null, h("code", null, command)))),
    ),
    h(
      "p",
      { class: "note" },
      "Nothing comes although files are sent? Uploader, downloader and registry must use the same Kafka (",
      h("code", null, "--bootstrap-servers"),
      ").",
    ),
  );
}
