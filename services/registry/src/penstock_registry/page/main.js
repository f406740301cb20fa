/** The page: which view there is, what it shows, and when it is drawn. */

import { LoginNeeded, Refused, Unreachable, logout } from "./api.js";
import { h, render } from "./dom.js";
import { Live } from "./live.js";
import { banner, header } from "./parts/header.js";
import { heading } from "./parts/page.js";
import { parse, to } from "./routes.js";
import { Speeds } from "./speeds.js";
import * as aside from "./views/aside.js";
import * as file from "./views/file.js";
import * as files from "./views/files.js";
import * as login from "./views/login.js";
import * as overview from "./views/overview.js";
import * as services from "./views/services.js";
import * as stream from "./views/stream.js";
import * as upload from "./views/upload.js";

/**
 * A view has `title(route, data)`, `render({route, data, app})`, and, if it needs more than the overview,
 * `load(route, signal)`, which is called again `reloadAfterMs` after the last time at the earliest. A view of
 * one thing says by `unknown` what there is instead if nobody knows that thing.
 */
const VIEWS = { overview, files, services, aside };
const VIEWS_OF_ONE = { streams: stream, files: file, uploads: upload };
const RELOAD_AFTER_MS = 2_000;
/** A view is drawn when its data has come, or empty after so long. */
const PATIENCE_MS = 400;
const LOGGED_IN = "penstock-logged-in";

/** What views may see and do. */
const app = {
  route: parse(location.hash),
  overview: null,
  locked: false,
  /** Whether someone logged in with this browser (the cookie itself is out of our sight). */
  mayLogOut: localStorage.getItem(LOGGED_IN) !== null,
  lost: "",
  /** Seconds since 1970 by the registry's clock. */
  now: Date.now() / 1000,
  speeds: new Speeds(),
  /** What belongs to the view that is shown, and goes with it. */
  local: {},
  change(values) {
    Object.assign(app.local, values);
    draw();
  },
  announce(text) {
    render(document.getElementById("announcer"), text);
  },
  go(hash) {
    if (location.hash === hash) reload();
    else location.hash = hash;
  },
  /** After a login. */
  enter() {
    app.locked = false;
    localStorage.setItem(LOGGED_IN, "yes");
    app.mayLogOut = true;
    live.start();
    navigate();
  },
  async leave() {
    await logout();
    lock();
  },
};

let view = null;
let data = undefined;
let failure = null;
let loading = null;
let loadedAt = 0;
let planned = 0;
let clockAhead = -Infinity;
let failuresKnown = null;

const live = new Live({ heard, lost, locked: lock });

function heard(news) {
  app.overview = news;
  app.lost = "";
  // An overview is never from the future, but it may be an old one that still holds.
  clockAhead = Math.max(clockAhead, news.at - Date.now() / 1000);
  app.speeds.note(news);
  if (failuresKnown !== null && news.failures_total > failuresKnown) {
    const more = news.failures_total - failuresKnown;
    app.announce(`${more} more ${more === 1 ? "file" : "files"} did not arrive`);
  }
  failuresKnown = news.failures_total;
  draw();
  reloadInTime();
}

/** Load anew what the view shows beyond the overview: now, or when its last time was long enough ago. */
function reloadInTime() {
  if (document.hidden || planned) return;
  const wait = Math.max(0, loadedAt + (view?.reloadAfterMs ?? RELOAD_AFTER_MS) - Date.now());
  planned = setTimeout(reload, wait);
}

function lost(reason) {
  app.lost = reason;
  draw();
}

function lock() {
  live.stop();
  loading?.abort();
  localStorage.removeItem(LOGGED_IN);
  app.mayLogOut = false;
  view = null;
  app.overview = null;
  app.locked = true;
  app.local = {};
  app.lost = "";
  draw();
  document.querySelector("input[name=token]")?.focus();
}

function viewOf({ view: name, name: one }) {
  return one ? VIEWS_OF_ONE[name] : VIEWS[name];
}

/** Show what the address names. */
async function navigate() {
  const before = app.route;
  app.route = parse(location.hash);
  if (app.locked) return;
  const samePlace = view !== null && before.view === app.route.view && before.name === app.route.name;
  view = viewOf(app.route);
  if (!samePlace) {
    app.local = {};
    data = undefined;
  }
  failure = null;
  const first = reload();
  await Promise.race([first, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
  draw();
  if (samePlace) {
    if (before.query.cursor !== app.route.query.cursor) focus("results");
  } else {
    window.scrollTo(0, 0);
    focus("heading");
  }
}

/** Load what the view needs, and draw it. A later call ends an earlier one. */
async function reload() {
  loading?.abort();
  clearTimeout(planned);
  planned = 0;
  if (!view?.load) return;
  const controller = new AbortController();
  loading = controller;
  loadedAt = Date.now();
  try {
    const loaded = await view.load(app.route, controller.signal);
    if (controller !== loading) return;
    data = loaded;
    failure = null;
  } catch (error) {
    if (controller !== loading || controller.signal.aborted) return;
    if (error instanceof LoginNeeded) lock();
    else if (!(error instanceof Unreachable)) failure = refusal(error);
    else if (!app.lost) app.lost = error.message;
  }
  loadedAt = Date.now();
  draw();
}

/** Why a view stays empty. To an id that is none, such as half of one, the registry answers 422. */
function refusal(error) {
  const unknown = error instanceof Refused && (error.status === 404 || error.status === 422);
  return (unknown && view.unknown) || error.message;
}

function draw() {
  app.now = Date.now() / 1000 + (Number.isFinite(clockAhead) ? clockAhead : 0);
  const shown = app.locked ? login : view;
  const failures = app.overview?.failures_total;
  const name = shown ? shown.title(app.route, data) : "Nothing here";
  document.title = `${failures ? `(${failures}) ` : ""}${name} – Penstock`;
  render(document.getElementById("header"), header(app));
  render(document.getElementById("banner"), banner(app) ?? []);
  render(document.getElementById("main"), content(shown));
}

function content(shown) {
  if (!shown) return missing("There is nothing at this address.");
  if (failure !== null && !app.locked) return missing(failure);
  return shown.render({ route: app.route, data, app });
}

function missing(text) {
  return [
    heading("Nothing here"),
    h("p", null, text),
    h("p", null, h("a", { href: to("overview") }, "Overview"), " · ", h("a", { href: to("files") }, "Find a file")),
  ];
}

function focus(id) {
  document.getElementById(id)?.focus({ preventScroll: true });
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address says which view there is
  document.getElementById("main").focus();
});
window.addEventListener("hashchange", navigate);
setInterval(() => document.hidden || draw(), 1_000);
view = viewOf(app.route);
draw();
reload();
live.start();
