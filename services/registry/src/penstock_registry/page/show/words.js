/** One word, one picture and one tone for each state that the API names. */

import { h } from "../dom.js";
import { icon } from "./icons.js";

/** Of a file; in the order in which a file goes through them, what ends badly last. */
export const FILE = {
  discovered: { word: "Discovered", icon: "clock", tone: "quiet" },
  uploading: { word: "Uploading", icon: "up", tone: "busy" },
  uploaded: { word: "In Kafka", icon: "layers", tone: "busy" },
  delivered: { word: "Delivered", icon: "check", tone: "good" },
  skipped: { word: "Skipped", icon: "skip", tone: "quiet" },
  aborted: { word: "Given up", icon: "stop", tone: "doubt" },
  rejected: { word: "Rejected", icon: "cross", tone: "bad" },
  failed: { word: "Failed", icon: "warning", tone: "bad" },
};

export const HEALTH = {
  ok: { word: "OK", icon: "check", tone: "good" },
  idle: { word: "Idle", icon: "pause", tone: "quiet" },
  warning: { word: "Warning", icon: "warning", tone: "doubt" },
  failing: { word: "Failing", icon: "cross", tone: "bad" },
};

export const SERVICE = {
  alive: { word: "Alive", icon: "pulse", tone: "good" },
  silent: { word: "Silent", icon: "warning", tone: "bad" },
  stopped: { word: "Stopped", icon: "stop", tone: "quiet" },
};

/** Of what happens to an upload. */
export const STEP = {
  discovered: { word: "Discovered", icon: "clock", tone: "quiet" },
  closed: { word: "Closed", icon: "close", tone: "quiet" },
  begun: { word: "Begun", icon: "up", tone: "busy" },
  uploaded: { word: "In Kafka", icon: "layers", tone: "busy" },
  aborted: FILE.aborted,
  failed: FILE.failed,
  /** Failed, but about one destination only. */
  forgone: { word: "Not sent again", icon: "stop", tone: "bad" },
  delivered: FILE.delivered,
  skipped: FILE.skipped,
  rejected: FILE.rejected,
  resent: { word: "Sent again", icon: "again", tone: "busy" },
};

const UNKNOWN = { icon: "clock", tone: "quiet" };

/** Return a state as icon and word, with `more` after the word. */
export function state(words, name, ...more) {
  const { word = name, icon: picture, tone } = words[name] ?? UNKNOWN;
  return h("span", { class: `state ${tone}` }, icon(picture), more.length ? h("span", null, word, more) : word);
}
