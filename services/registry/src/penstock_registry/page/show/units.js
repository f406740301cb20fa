/** Sizes, speeds and times as people read them: the same words as the `penstock` command has. */

import { h } from "../dom.js";

const THIN_SPACE = "\u202f";

/** Bytes: `512 B`, `1.5 MiB`. */
export function size(bytes) {
  if (bytes < 1024) return `${Math.round(bytes)} B`;
  let number = bytes;
  for (const unit of ["KiB", "MiB", "GiB", "TiB"]) {
    number /= 1024;
    if (number < 999.95 || unit === "TiB") return `${number.toFixed(1)} ${unit}`;
  }
  throw new RangeError(String(bytes));
}

/** A speed in MB/s (10^6 bytes), as networks and disks are sold. */
export function rate(bytesPerSecond) {
  const megabytes = bytesPerSecond / 1e6;
  if (megabytes > 0 && megabytes < 0.05) return "< 0.1 MB/s";
  return `${megabytes >= 9.95 ? Math.round(megabytes) : megabytes.toFixed(1)} MB/s`;
}

/** Files per second. */
export function pace(filesPerSecond) {
  if (filesPerSecond > 0 && filesPerSecond < 0.05) return `${(filesPerSecond * 60).toFixed(1)} files/min`;
  return `${filesPerSecond >= 9.95 ? Math.round(filesPerSecond) : filesPerSecond.toFixed(1)} files/s`;
}

/** A whole number, its thousands apart by a narrow space. */
export function grouped(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, THIN_SPACE);
}

/** `1 file`, `1 203 files`. */
export function count(number, noun) {
  return `${grouped(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** Files and their bytes: `3 files, 1.5 MiB`. */
export function amount({ files, bytes }) {
  return `${count(files, "file")}, ${size(bytes)}`;
}

/** A duration in seconds: `0.12 s`, `4.2 s`, `3:07 min`. */
export function duration(seconds) {
  if (seconds < 0.995) return `${Math.max(0, seconds).toFixed(2)} s`;
  if (seconds < 99.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return parts[0] ? `${parts[0]}:${two(parts[1])}:${two(parts[2])} h` : `${parts[1]}:${two(parts[2])} min`;
}

/** How long ago, or how long since: `3 s`, `5 min`, `2 h`, `4 d`. */
export function span(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${grouped(Math.round(seconds / 86400))} d`;
}

const EXACT = new Intl.DateTimeFormat("en-GB", {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  timeZoneName: "short",
});

/** A point in time (seconds since 1970), exactly, where the reader is. */
export function exact(at) {
  return EXACT.format(new Date(at * 1000));
}

/** `3 s ago`, as an element that also has the exact time. */
export function ago(at, now) {
  const seconds = now - at;
  const text = seconds < 2 ? "just now" : `${span(seconds)} ago`;
  return h("time", { datetime: new Date(at * 1000).toISOString(), title: exact(at) }, text);
}

/** The exact time, as an element. */
export function when(at) {
  return h("time", { datetime: new Date(at * 1000).toISOString() }, exact(at));
}
