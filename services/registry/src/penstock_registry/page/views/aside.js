/** What counts nowhere: records that the registry could not make sense of, and those that Kafka had no more. */

import { get } from "../api.js";
import { h } from "../dom.js";
import { heading, nothing, section } from "../parts/page.js";
import { table } from "../parts/table.js";
import { to } from "../routes.js";
import { harmless, path } from "../show/names.js";
import { ago, count, grouped } from "../show/units.js";

const HEAD_SHOWN = 400;

export const title = () => "Kept aside";

export async function load(_, signal) {
  const [asides, lost] = await Promise.all([get("problems", {}, signal), get("lost-ranges", {}, signal)]);
  return { asides: asides.items, lost: lost.items };
}

export function render({ data, app }) {
  if (!data) return [heading("Kept aside"), nothing("Asking the registry …")];
  return [
    heading("Kept aside"),
    section(
      "asides",
      "Records kept aside",
      h("p", null, "These records on the topics of events and receipts are not what Penstock writes there. They change nothing that is shown elsewhere. Who may write to these topics can be limited by ACLs."),
      data.asides.length ? asideTable(data.asides, app) : nothing("None."),
    ),
    section(
      "lost",
      "Lost in Kafka",
      h("p", null, "Records that were gone before a destination had read them. The source sends again what it still has; a longer retention of the topic prevents it."),
      data.lost.length ? lostTable(data.lost, app) : nothing("None."),
    ),
  ];
}

/** Return a table of lost ranges. */
export function lostTable(ranges, app) {
  return table(
    "Ranges of records that were lost",
    ["Stream", "Destination", "Partition", "Records", "When"],
    ranges.map((range) => ({
      key: `${range.topic_id}/${range.partition}/${range.from_offset}/${range.to_offset}/${range.destination}`,
      cells: [
        h("a", { href: to("streams", range.stream) }, range.stream),
        h("bdi", null, range.destination),
        range.partition,
        [count(range.to_offset - range.from_offset, "record"), h("p", { class: "detail" }, `offsets ${grouped(range.from_offset)} to ${grouped(range.to_offset - 1)}`)],
        ago(range.at, app.now),
      ],
    })),
  );
}

function asideTable(asides, app) {
  return table(
    "Records kept aside",
    ["Record", "Why", "How it begins", "When"],
    asides.map((aside) => ({
      key: `${aside.topic}/${aside.partition}/${aside.offset}`,
      cells: [
        [harmless(aside.topic), h("p", { class: "detail" }, `partition ${aside.partition}, offset ${grouped(aside.offset)}`)],
        harmless(aside.reason),
        h("code", { class: "head" }, aside.head_base64 ? path({ path: "", path_base64: aside.head_base64 }, HEAD_SHOWN) : "(empty)"),
        ago(aside.at, app.now),
      ],
    })),
  );
}
