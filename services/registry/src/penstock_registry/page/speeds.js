/** How fast each file on its way grows, as far as this page has seen it. */

const WINDOW_SECONDS = 15;

export class Speeds {
  #seen = new Map();

  /** Take note of an overview. What is no longer on its way is forgotten. */
  note(overview) {
    const before = this.#seen;
    this.#seen = new Map();
    for (const file of overview.in_flight) {
      const marks = (before.get(file.id) ?? []).filter(
        (mark) => mark.upload === file.upload_id && mark.at > file.last_at - WINDOW_SECONDS,
      );
      if (marks.at(-1)?.bytes !== file.bytes_done) {
        marks.push({ upload: file.upload_id, at: file.last_at, bytes: file.bytes_done });
      }
      this.#seen.set(file.id, marks);
    }
  }

  /** Return bytes per second, or 0 as long as nothing can be said. */
  of(id) {
    const marks = this.#seen.get(id) ?? [];
    if (marks.length < 2) return 0;
    const [first, last] = [marks[0], marks.at(-1)];
    return last.at > first.at ? (last.bytes - first.bytes) / (last.at - first.at) : 0;
  }
}
