/** The way in, where the registry wants a token. */

import { LoginNeeded, login } from "../api.js";
import { h } from "../dom.js";
import { heading } from "../parts/page.js";

export const title = () => "Log in";

export function render({ app }) {
  const { refused, busy } = app.local;
  return [
    h(
      "form",
      { class: "login", method: "post", action: "/login", onsubmit: (event) => submit(event, app) },
      heading("Log in"),
      h("p", null, "This registry wants its token: the one that it was started with (", h("code", null, "--token-file"), " or ", h("code", null, "PENSTOCK_TOKEN"), ")."),
      h(
        "p",
        { class: "note" },
        "Was it given none? Then it made one: in the file ",
        h("code", null, "token"),
        " of its state directory, ",
        h("code", null, "~/.local/state/penstock/registry"),
        " unless ",
        h("code", null, "--state-dir"),
        " says another; its log names the file when it starts.",
      ),
      // Password managers keep a name with each password.
      h("input", { class: "unseen", type: "text", name: "username", value: "registry", autocomplete: "username", readonly: true, tabindex: -1, "aria-hidden": "true" }),
      h(
        "label",
        null,
        "Token",
        h("input", {
          type: "password",
          name: "token",
          required: true,
          autocomplete: "current-password",
          "aria-describedby": refused ? "refused" : undefined,
          "aria-invalid": refused ? "true" : undefined,
        }),
      ),
      h("p", { id: "refused", role: "alert", class: "refused" }, refused),
      h("button", { type: "submit", class: "main", disabled: busy }, "Log in"),
    ),
  ];
}

async function submit(event, app) {
  event.preventDefault();
  const form = event.currentTarget;
  app.change({ busy: true, refused: "" });
  try {
    await login(form);
    app.enter();
  } catch (error) {
    const refused = error instanceof LoginNeeded ? "This is not the token." : `It did not work: ${error.message}.`;
    app.change({ busy: false, refused });
    form.elements.token.select();
  }
}
