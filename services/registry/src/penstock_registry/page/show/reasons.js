/** Why a destination or the source did not do it: the codes of the API, in a few words that fit one file and many. */

export const REASON = {
  incomplete: "records are missing",
  digest: "the bytes differ",
  expired: "the source stopped in the middle",
  malformed: "records that make no sense",
  unsupported: "a newer format",
  foreign: "records that are not Penstock's",
  "unsafe-path": "path not safe there",
  "unportable-path": "name not possible there",
  "path-conflict": "something else is in that place",
  "name-too-long": "name too long",
  "too-large": "too large",
  stale: "a newer version is there",
  "source-conflict": "the path belongs to another source",
  "not-addressed": "meant for others",
  filtered: "filtered out",
  exists: "a file of that name is there",
  "range-lost": "lost in Kafka",
  unsendable: "cannot be sent like this",
  unreadable: "cannot be read",
  "too-slow": "sending took too long",
  "source-gone": "gone at the source",
  changed: "changed meanwhile",
  vanished: "vanished meanwhile",
  superseded: "a newer upload took over",
};

/** Return a reason in words; one that nobody here knows as it is. */
export function reasonWords(reason) {
  return Object.hasOwn(REASON, reason) ? REASON[reason] : reason.replaceAll("-", " ");
}
