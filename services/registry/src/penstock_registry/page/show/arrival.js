/** Where a file has arrived, and whom it waits for: in words. */

import { harmless } from "./names.js";
import { FILE, state } from "./words.js";

/** So many destinations are named; of more only the number is told. */
const NAMED = 3;

/** Return the state of a file as icon and words: `Delivered to 2 of 3, waiting for lab`. */
export function fileState(file) {
  return state(FILE, file.state, ...elsewhere(file));
}

/** Return what is to be said beyond the word for a file's state, as contents of an element. */
function elsewhere(file) {
  const current = file.answers.filter((answer) => answer.current);
  const has = current.filter((answer) => answer.outcome === "delivered").length;
  const wanted = current.filter((answer) => answer.outcome !== "skipped").length + file.waiting_for.length;
  const share = has < wanted ? ` to ${has} of ${wanted}` : "";
  const said = [];
  if (file.state === "delivered") said.push(share);
  else if (file.state === "rejected" && file.by) said.push(" by ", harmless(file.by));
  else if (file.state === "uploading") said.push(...after(", ", rejectedOnTheWay(file)));
  else if (file.state === "uploaded" && !current.length && !file.waiting_for.length) said.push(", no destination yet");
  if (has && file.state !== "delivered") said.push(`, delivered${share}`);
  if (file.waiting_for.length && file.state !== "uploading") said.push(", waiting for ", ...named(file.waiting_for));
  return said;
}

/** Return `parts` with `first` before them, if there are any. */
export const after = (first, parts) => (parts.length ? [first, ...parts] : []);

/** Return who has refused a file while it is still sent, in words: its beginning may be enough for that. */
export function rejectedOnTheWay({ answers, upload_id: newest }) {
  const by = answers.filter((answer) => answer.current && answer.outcome === "rejected" && answer.upload_id === newest);
  return by.length ? ["rejected by ", ...named(by.map((answer) => answer.destination))] : [];
}

function named(names) {
  if (names.length > NAMED) return [`${names.length} destinations`];
  return names.flatMap((name, index) => (index ? [", ", harmless(name)] : [harmless(name)]));
}

/** Return the same as plain text, for those who hear it. */
export function spoken(description) {
  if (description.tag === undefined) return String(description);
  return description.tag === "svg" ? "" : description.children.map(spoken).join("");
}

/** Whether any of these files is at one destination at least. */
export const isSomewhere = (file) => file.answers.some((answer) => answer.current && answer.outcome === "delivered");
