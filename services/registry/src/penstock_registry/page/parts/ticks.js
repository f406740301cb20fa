/** Round numbers along the axes of a picture. */

const HOUR = 3600;
const DAY = 24 * HOUR;

/** Return 0 and up to five round values above it, the last one not below `most`. */
export function valueTicks(most) {
  const wanted = Math.max(most, 0.1) / 4;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= wanted);
  const steps = Math.max(1, Math.ceil(most / step - 1e-9));
  return Array.from({ length: steps + 1 }, (_, index) => index * step);
}

/** Return the round times of the reader's clock within a span, as [{at, text, major}]; minor ones may be left out. */
export function timeTicks(since, until) {
  const span = until - since;
  if (span <= 2 * HOUR) return ticks(since, until, 600, 1200, clock);
  if (span <= 2 * DAY) return ticks(since, until, 3 * HOUR, 6 * HOUR, clock);
  if (span <= 10 * DAY) return ticks(since, until, DAY, 2 * DAY, day);
  return ticks(since, until, 5 * DAY, 10 * DAY, day);
}

function ticks(since, until, step, major, text) {
  const found = [];
  const midnight = new Date(since * 1000);
  midnight.setHours(0, 0, 0, 0);
  for (let index = 0; ; index += 1) {
    const date = new Date(midnight);
    if (step >= DAY) date.setDate(date.getDate() + (index * step) / DAY);
    else date.setSeconds(index * step);
    const at = date.getTime() / 1000;
    if (at > until) return found;
    // Not at the very ends, where the words would stick out.
    if (at > since + (until - since) * 0.02 && at < until - (until - since) * 0.02) {
      found.push({ at, text: text(date), major: (index * step) % major === 0 });
    }
  }
}

const clock = (date) => date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = (date) => date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
