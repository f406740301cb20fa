/** Files: looked for by the beginning of a name or path, by stream, destination and state. */

import { get } from "../api.js";
import { h } from "../dom.js";
import { fileTable } from "../parts/files.js";
import { heading, nothing } from "../parts/page.js";
import { to } from "../routes.js";
import { icon } from "../show/icons.js";
import { count } from "../show/units.js";
import { FILE } from "../show/words.js";

const PAGE = 50;

export const title = ({ query }) => (query.search ? `Files: ${query.search}` : "Files");

export async function load({ query }, signal) {
  const { search = "", stream, destination, state, cursor } = query;
  const states = state ? state.split(",") : [];
  return get("files", { search: search.replace(/^\/+/, ""), stream, destination, state: states, cursor, limit: PAGE }, signal);
}

export function render({ route, data, app }) {
  return [heading("Files"), form(route, app), data ? results(route, data, app) : nothing("Asking the registry …")];
}

function form({ query }, app) {
  const streams = app.overview?.streams.map((stream) => stream.topic) ?? [];
  if (query.stream && !streams.includes(query.stream)) streams.push(query.stream);
  const destinations = receivers(query, app.overview?.streams ?? []);
  const states = { ...Object.fromEntries(Object.entries(FILE).map(([name, { word }]) => [name, word])), "rejected,failed": "Did not arrive" };
  // With a destination the state is as that one sees it.
  if (query.destination) states.uploaded = "Waiting for it";
  return h(
    "form",
    {
      class: "filters",
      role: "search",
      "aria-label": "Files",
      onsubmit: (event) => {
        event.preventDefault();
        const given = Object.fromEntries(new FormData(event.currentTarget));
        app.go(to("files", "", given));
      },
    },
    h(
      "label",
      { class: "wide" },
      "Name or path begins with",
      h("input", { type: "search", name: "search", value: query.search ?? "", autocomplete: "off", spellcheck: "false", autocapitalize: "none" }),
    ),
    select("Stream", "stream", streams.map((topic) => [topic, topic]), query.stream, "All streams"),
    select("Destination", "destination", destinations.map((name) => [name, name]), query.destination, "Any destination"),
    select("State", "state", Object.entries(states), query.state, "Any state"),
    h("button", { type: "submit" }, icon("search"), "Search"),
  );
}

/** The destinations of the stream that is chosen, or of all. */
function receivers({ stream, destination }, streams) {
  const names = streams
    .filter(({ topic }) => !stream || topic === stream)
    .flatMap(({ destinations }) => destinations.map(({ name }) => name));
  return [...new Set(destination ? [...names, destination] : names)].sort();
}

function select(label, name, options, chosen, none) {
  return h(
    "label",
    null,
    label,
    h(
      "select",
      { name, value: chosen ?? "", onchange: (event) => event.currentTarget.form.requestSubmit() },
      h("option", { value: "", key: "" }, none),
      options.map(([value, word]) => h("option", { value, key: value }, word)),
    ),
  );
}

function results({ query }, { items, next }, app) {
  const { cursor, ...others } = query;
  const filtered = query.search || query.stream || query.destination || query.state;
  return h(
    "section",
    { "aria-labelledby": "results" },
    h(
      "h2",
      { id: "results", tabindex: -1 },
      items.length ? `${count(items.length, "file")}${cursor || next ? " on this page" : ""}` : "No file",
    ),
    items.length
      ? fileTable(items, app, { caption: "Files found", streams: !query.stream })
      : nothing(
          next
            ? "None among the files that were looked at; there are more."
            : filtered
              ? "Nothing begins like this, or is in this state there. Upper and lower case are the same in names, not in paths."
              : "No file has been seen yet.",
        ),
    (cursor || next) &&
      h(
        "nav",
        { class: "pages", "aria-label": "Pages" },
        cursor && h("a", { href: to("files", "", others) }, "First page"),
        next && h("a", { href: to("files", "", { ...others, cursor: next }) }, "Next page"),
      ),
  );
}
