/** Small pictures, 16 by 16, drawn with the colour of the text; a word always stands beside them. */

import { h } from "../dom.js";

const PATHS = {
  check: "M2.8 8.6 6.2 12 13.2 4.6",
  cross: "M4 4l8 8M12 4l-8 8",
  warning: "M8 2.2 14.6 13.6H1.4zM8 6.4v3.4M8 11.7v.1",
  pause: "M5.6 4v8M10.4 4v8",
  up: "M8 13.5V3M3.8 7.2 8 3l4.2 4.2",
  layers: "M8 2.4 14 5.4 8 8.4 2 5.4zM2.4 8.3 8 11.1l5.6-2.8M2.4 11 8 13.8 13.6 11",
  clock: "M8 1.9a6.1 6.1 0 1 0 0 12.2A6.1 6.1 0 0 0 8 1.9M8 4.8V8l2.3 1.6",
  skip: "M3 4l5 4-5 4zM9 4l5 4-5 4z",
  stop: "M8 1.9a6.1 6.1 0 1 0 0 12.2A6.1 6.1 0 0 0 8 1.9M3.9 3.9l8.2 8.2",
  again: "M13 8a5 5 0 1 1-1.6-3.7M13.2 2.2v3.2H10",
  search: "M7 2.4a4.6 4.6 0 1 0 0 9.2 4.6 4.6 0 0 0 0-9.2M10.4 10.4l3.4 3.4",
  copy: "M5.6 5.6h7.6v7.6H5.6zM3 10.4H2.8V2.8h7.6V3",
  pulse: "M1.6 8.4h3L6.5 3.6l3 9 1.9-4.2h3",
  close: "M4.4 2.4h5l2.2 2.2v9H4.4zM6.4 9.2l1.2 1.2 2.2-2.6",
};

/** Return an icon. It says nothing to screen readers. */
export function icon(name) {
  return h(
    "svg",
    { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" },
    h("path", { d: PATHS[name] }),
  );
}
