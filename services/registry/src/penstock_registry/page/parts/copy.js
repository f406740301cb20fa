/** Text that someone will want elsewhere, such as a digest, with a button that copies it. */

import { h } from "../dom.js";
import { icon } from "../show/icons.js";

/** Return `text` (shown as `shown`, if that is given) and a button that copies all of it. `what` names it. */
export function copyable(text, what, app, shown = text) {
  return h("span", { class: "copyable" }, h("code", { title: shown === text ? undefined : text }, shown), copyButton(text, what, app));
}

/** Return only the button. */
export function copyButton(text, what, app) {
  if (!navigator.clipboard) return null; // browsers have it at https and on this machine only
  const copied = app.local.copied === text;
  return h(
    "button",
    {
      type: "button",
      class: "quiet-button",
      "aria-label": `Copy ${what}`,
      title: `Copy ${what}`,
      onclick: async () => {
        await navigator.clipboard.writeText(text);
        app.change({ copied: text });
        app.announce(`Copied ${what}`);
      },
    },
    icon(copied ? "check" : "copy"),
  );
}
