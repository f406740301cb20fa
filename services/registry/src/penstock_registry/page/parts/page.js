/** What several views have: headings that take the focus, facts, messages. */

import { h } from "../dom.js";

/** The heading of a view; it gets the focus when one comes here. */
export function heading(...content) {
  return h("h1", { id: "heading", tabindex: -1 }, content);
}

/** A part of a view with a heading of its own. */
export function section(id, title, ...content) {
  return h("section", { "aria-labelledby": id, key: id }, h("h2", { id }, title), content);
}

/** Names and values, as [name, value, whether it is long]. Facts whose value is missing are left out. */
export function facts(pairs) {
  return h(
    "dl",
    { class: "facts" },
    pairs
      .filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false)
      .map(([name, value, long]) => h("div", { key: name, class: long && "wide" }, h("dt", null, name), h("dd", null, value))),
  );
}

/** What there is instead of a list that is empty. */
export function nothing(text) {
  return h("p", { class: "nothing" }, text);
}
