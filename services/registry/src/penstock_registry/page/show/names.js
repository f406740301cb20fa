/**
 * File names, which may hold anything but NUL: shown on one line, whole or shortened, and harmless.
 *
 * What cannot be printed is escaped as the `penstock` command does it (\n, \x1b, \u202e, \xff for a byte that
 * is not UTF-8), and marked, so that it cannot be mistaken for a name that has a backslash.
 */

import { h } from "../dom.js";

/** What Python's str.isprintable() is false for. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;
const SHORT = { "\t": "\\t", "\n": "\\n", "\r": "\\r" };

/** Return the characters of a name as [text, whether it is an escape] pairs, one per character or byte. */
function characters(name, base64) {
  if (base64) return bytesShown(Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0)));
  return Array.from(name, shownCharacter);
}

function shownCharacter(character) {
  if (!UNPRINTABLE.test(character)) return [character, false];
  if (character in SHORT) return [SHORT[character], true];
  const hex = character.codePointAt(0).toString(16);
  if (hex.length <= 2) return [`\\x${hex.padStart(2, "0")}`, true];
  if (hex.length <= 4) return [`\\u${hex.padStart(4, "0")}`, true];
  return [`\\U${hex.padStart(8, "0")}`, true];
}

function bytesShown(bytes) {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const found = [];
  let at = 0;
  while (at < bytes.length) {
    const lead = bytes[at];
    const length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    try {
      found.push(shownCharacter(decoder.decode(bytes.subarray(at, at + length))));
      at += length;
    } catch {
      found.push([`\\x${lead.toString(16)}`, true]);
      at += 1;
    }
  }
  return found;
}

/** Return a name as plain text, on one line. */
export function plain(name, base64 = null) {
  return characters(name, base64)
    .map(([text]) => text)
    .join("");
}

/** Return a name as plain text with at most `most` characters: the middle goes, for both ends say something. */
export function shortened(name, most, base64 = null) {
  return clipped(characters(name, base64), most)
    .map(([text]) => text)
    .join("");
}

function clipped(shown, most) {
  if (shown.length <= most) return shown;
  const tail = Math.ceil(((most - 1) * 2) / 3);
  return [...shown.slice(0, most - 1 - tail), ["…", false], ...shown.slice(shown.length - tail)];
}

/**
 * Return a path as elements: directories quiet, the name plain, escapes marked. `most` characters of it, with
 * the whole as a tooltip; all of it without `most`.
 */
export function path(file, most = Infinity, field = "path") {
  return elements(characters(file[field] ?? "", file[`${field}_base64`]), most);
}

/** Return only the name of a file, without its directories, likewise. */
export function name(file, most = Infinity) {
  const all = characters(file.path ?? "", file.path_base64);
  return elements(all.slice(all.findLastIndex(([text]) => text === "/") + 1), most);
}

function elements(all, most) {
  const shown = clipped(all, most);
  const slash = shown.findLastIndex(([text]) => text === "/");
  const whole = shown.length < all.length ? all.map(([text]) => text).join("") : undefined;
  return h(
    "bdi",
    { class: "path", title: whole && (whole.length > 1000 ? `${whole.slice(0, 1000)}…` : whole) },
    slash >= 0 && h("span", { class: "directories" }, runs(shown.slice(0, slash + 1))),
    runs(shown.slice(slash + 1)),
  );
}

/** Text of people or machines that may hold anything, such as a reason's detail: on one line, harmless. */
export function harmless(text) {
  return h("bdi", null, runs(Array.from(text, shownCharacter)));
}

/** Advice, in which `...` is a command, and --this an option: likewise. */
export function advice(text) {
  return text.split("`").map((part, index) => (index % 2 ? h("code", null, part) : options(part)));
}

function options(text) {
  return text
    .split(/((?<!\S)--[a-z][a-z-]*)/)
    .map((part, index) => (index % 2 ? h("code", { class: "option" }, part) : harmless(part)));
}

function runs(shown) {
  const found = [];
  for (const [text, escaped] of shown) {
    const last = found.at(-1);
    if (last && last.escaped === escaped) last.text += text;
    else found.push({ text, escaped });
  }
  return found.map(({ text, escaped }) => (escaped ? h("span", { class: "escape" }, text) : text));
}
