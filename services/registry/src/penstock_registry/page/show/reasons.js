/** Why a destination or the source did not do it: the codes of the API, as half a sentence. */

export const REASON = {
  incomplete: "records of it are missing",
  digest: "the bytes differ",
  expired: "the source stopped in the middle",
  malformed: "its records make no sense",
  unsupported: "it is in a newer format",
  foreign: "records that are not Penstock's",
  "unsafe-path": "its path is not safe there",
  "unportable-path": "its name is not possible there",
  "path-conflict": "something else stands in its place",
  "name-too-long": "its name is too long",
  "too-large": "too large",
  stale: "a newer version is there",
  "source-conflict": "the path belongs to another source",
  "not-addressed": "it was meant for others",
  filtered: "filtered out",
  exists: "a file of that name is there",
  "range-lost": "lost in Kafka",
  unsendable: "it cannot be sent as it is",
  unreadable: "it cannot be read",
  "too-slow": "sending took too long",
  "source-gone": "the source has it no more",
  changed: "it changed meanwhile",
  vanished: "it vanished meanwhile",
  superseded: "a newer upload took its place",
};

/** Return a reason in words; one that nobody here knows as it is. */
export function reasonWords(reason) {
  return Object.hasOwn(REASON, reason) ? REASON[reason] : reason.replaceAll("-", " ");
}
