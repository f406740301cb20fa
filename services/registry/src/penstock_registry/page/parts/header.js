/** What stands above every view: where one can go, the search, and whether what one sees is of now. */

import { h } from "../dom.js";
import { to } from "../routes.js";
import { icon } from "../show/icons.js";
import { grouped } from "../show/units.js";

export function header(app) {
  const { route, overview, locked } = app;
  const brand = h(
    "a",
    { class: "brand", href: to("overview") },
    h("img", { src: "favicon.svg", alt: "", width: 24, height: 24 }),
    "Penstock",
  );
  if (locked) return h("header", { class: "top" }, brand);
  const aside = (overview?.problems_total ?? 0) + (overview?.lost.length ?? 0);
  const links = [
    ["overview", "Overview", overview?.failures_total],
    ["files", "Files"],
    ["services", "Services", overview?.services.filter((service) => service.state === "silent").length],
    ["aside", "Kept aside", aside],
  ];
  return h(
    "header",
    { class: "top" },
    brand,
    h(
      "nav",
      { "aria-label": "Main" },
      h(
        "ul",
        null,
        links.map(([view, word, number]) =>
          h(
            "li",
            { key: view },
            h(
              "a",
              { href: to(view), "aria-current": route.view === view && !route.name ? "page" : undefined },
              word,
              number > 0 && h("span", { class: "badge" }, grouped(number)),
            ),
          ),
        ),
      ),
    ),
    route.view === "files" && !route.name ? null : search(app),
    app.mayLogOut && h("button", { type: "button", class: "quiet-button", onclick: app.leave }, "Log out"),
  );
}

function search(app) {
  return h(
    "form",
    {
      class: "search",
      role: "search",
      "aria-label": "All files",
      key: "search",
      onsubmit: (event) => {
        event.preventDefault();
        const form = event.currentTarget;
        app.go(to("files", "", { search: form.elements.search.value.trim() }));
        form.reset();
      },
    },
    h("input", { type: "search", name: "search", "aria-label": "Find a file", placeholder: "Find a file", autocomplete: "off", spellcheck: "false", autocapitalize: "none" }),
    h("button", { type: "submit", "aria-label": "Search" }, icon("search")),
  );
}

/** What is said while the registry cannot be reached. */
export function banner({ lost, overview, now }) {
  if (!lost) return null;
  const old = overview ? " What you see is from before." : "";
  return h("p", { class: "banner" }, icon("warning"), `No news: ${lost}.${old} Asking again …`);
}
