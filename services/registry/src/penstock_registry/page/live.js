/**
 * The overview, kept up to date: by server-sent events while the page is looked at, by asking where those do
 * not come through, and now and then while the page is in the background (browsers allow few connections to
 * one server, and each stream holds one).
 */

import { LoginNeeded, get } from "./api.js";

const ASK_EVERY_MS = 5_000;
const ASK_WHEN_AWAY_EVERY_MS = 2_000;
const ASK_IN_BACKGROUND_EVERY_MS = 30_000;
/** A stream that is silent for so long is checked by asking: something between may hold it back. */
const DOUBT_AFTER_MS = 20_000;

export class Live {
  #events = null;
  #timer = 0;
  #asking = false;
  #running = false;
  #away = false;

  /**
   * `heard(overview)` is called with each overview; `lost(reason)` when none can be had, once per outage and
   * changed reason; `locked()` when a login is needed, after which nothing happens until `start`.
   */
  constructor({ heard, lost, locked }) {
    this.callbacks = { heard, lost, locked };
    document.addEventListener("visibilitychange", () => this.#running && this.#look());
  }

  start() {
    this.#running = true;
    this.#look();
  }

  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
    this.#close();
  }

  get #streaming() {
    return this.#events?.readyState === EventSource.OPEN;
  }

  #look() {
    if (document.hidden) this.#close();
    this.#ask();
  }

  #plan() {
    clearTimeout(this.#timer);
    if (!this.#running) return;
    let wait = ASK_EVERY_MS;
    if (this.#away) wait = ASK_WHEN_AWAY_EVERY_MS;
    else if (document.hidden) wait = ASK_IN_BACKGROUND_EVERY_MS;
    else if (this.#streaming) wait = DOUBT_AFTER_MS;
    this.#timer = setTimeout(() => this.#ask(), wait);
  }

  async #ask() {
    if (this.#asking) return;
    this.#asking = true;
    try {
      const overview = await get("overview");
      if (!this.#running) return;
      this.#heard(overview);
      this.#open();
    } catch (error) {
      if (!this.#running) return;
      if (error instanceof LoginNeeded) {
        this.stop();
        this.callbacks.locked();
        return;
      }
      this.#away = true;
      this.callbacks.lost(error.message);
    } finally {
      this.#asking = false;
      this.#plan();
    }
  }

  #heard(overview) {
    this.#away = false;
    this.callbacks.heard(overview);
  }

  #open() {
    if (document.hidden || (this.#events && this.#events.readyState !== EventSource.CLOSED)) return;
    const events = new EventSource("/api/v1/events");
    this.#events = events;
    events.addEventListener("open", () => this.#plan());
    events.addEventListener("overview", (event) => {
      if (events !== this.#events) return;
      this.#heard(JSON.parse(event.data));
      this.#plan();
    });
    events.addEventListener("problem", (event) => {
      if (events !== this.#events) return;
      this.#away = true;
      this.callbacks.lost(JSON.parse(event.data).detail);
      this.#plan();
    });
    events.addEventListener("error", () => {
      // Whether it is a pause, an end or a login that is needed, only an answer can tell.
      if (events === this.#events && this.#running) this.#ask();
    });
  }

  #close() {
    this.#events?.close();
    this.#events = null;
  }
}
