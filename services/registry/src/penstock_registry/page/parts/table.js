/** A table that is a list of cards on a phone, and a table to screen readers wherever it is. */

import { h } from "../dom.js";

/**
 * Return a table. Columns are texts, or {text, number: true} for numbers; empty ones are left out, in the
 * rows too. A row is {key, cells}; its first cell is what the row is about.
 */
export function table(caption, columns, rows) {
  const shown = columns.map((column) => (typeof column === "string" ? { text: column } : column));
  const here = (_, index) => Boolean(columns[index]);
  return h(
    "table",
    { role: "table" },
    h("caption", { class: "unseen" }, caption),
    h(
      "thead",
      { role: "rowgroup" },
      h(
        "tr",
        { role: "row" },
        shown
          .filter(here)
          .map(({ text, number }) => h("th", { scope: "col", role: "columnheader", class: number && "number" }, text)),
      ),
    ),
    h(
      "tbody",
      { role: "rowgroup" },
      rows.map(({ key, cells }) =>
        h(
          "tr",
          { role: "row", key },
          cells
            .map((cell, index) =>
              index === 0
                ? h("th", { scope: "row", role: "rowheader" }, cell)
                : h(
                    "td",
                    { role: "cell", class: shown[index].number && "number" },
                    h("span", { class: "label", "aria-hidden": "true" }, shown[index].text),
                    h("div", null, cell),
                  ),
            )
            .filter(here),
        ),
      ),
    ),
  );
}
