/** The pieces of a receipt: verdict, arithmetic, inputs, revisions. */

import { el } from "../../base/dom.ts";
import { dayText, exact, lateText, spanText, tellingText, timeText } from "./told.ts";
import type { Explained, Input, Receipt } from "./told.ts";

const INPUTS_FIRST = 25;
const STATE_FIRST = 8;

export function verdict(told: Receipt): HTMLElement {
  const text = told.same
    ? "The replay gives the same bits as what is stored."
    : "The replay gives another value than what is stored. `marketpulse verify` names every such row.";
  return el("p", { class: told.same ? "verdict same" : "verdict differs", role: "status" }, el("b", {}, told.same ? "Verified" : "Not the same"), ` ${text}`);
}

export function origin(told: Receipt): HTMLElement {
  return el(
    "section", {},
    el("h4", {}, "Where it comes from"),
    el("p", {}, `${spanText(told)} ${lateText(told.receipt.late_count)}`),
    facts([["Replayed", told.replayed], ["Known from", told.known_from], ["Engine version", told.receipt.engine_version]]),
  );
}

function facts(pairs: [string, string][]): HTMLElement {
  return el("dl", { class: "receipt-facts" }, ...pairs.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))));
}

export function arithmetic(told: Receipt): HTMLElement {
  const blocks = told.values.map((value) => block(value, told.values.length > 1));
  if (told.alert) {
    blocks.push(
      el("div", { class: "receipt-value" },
        el("p", {}, `Rule ${told.alert.rule.name}: `, el("code", {}, told.alert.rule.expression)),
        el("ol", {}, ...told.alert.lines.map((line) => el("li", {}, line))),
      ),
    );
  }
  return el("section", {}, el("h4", {}, "Arithmetic"), ...blocks);
}

function block(value: Explained, many: boolean): HTMLElement {
  const head = el("div", { class: "receipt-head" }, el("span", {}, value.name), el("b", {}, exact(value.known)));
  const { indicator, formula = "", bars_before: bars = 0, state = [] } = value.before;
  const numbers = state.slice(0, STATE_FIRST).map(exact).join(", ") + (state.length > STATE_FIRST ? " …" : "");
  const before = indicator
    ? [
        el("p", { class: "faint" }, `${indicator}: ${formula}`),
        el("p", { class: "faint" }, `State before, from ${bars.toLocaleString("en-GB")} bars: ${numbers}`),
      ]
    : [];
  const same = value.same ? [] : [el("p", { class: "differs" }, `Stored ${exact(value.known)}, replayed ${exact(value.replayed)}, by these words ${exact(value.worked_out)}.`)];
  const lines = el("ol", {}, ...value.lines.map((line) => el("li", {}, line)));
  if (!many) return el("div", { class: "receipt-value" }, head, ...before, lines, ...same);
  return el("details", { class: "receipt-value", ...(value.name === "close" ? { open: "" } : {}) }, el("summary", {}, head), ...before, lines, ...same);
}

export function inputs(told: Receipt): HTMLElement {
  const counting = told.inputs.filter((input) => input.counts).length;
  const body = el("tbody");
  const show = (count: number): void => body.replaceChildren(...told.inputs.slice(0, count).map(line));
  show(INPUTS_FIRST);
  const table = el(
    "table", { class: "receipt-table" },
    el("thead", {}, el("tr", {}, ...["Time", "Price", "Size", "Place", ""].map((name, i) => el("th", { scope: "col", class: i === 1 || i === 2 ? "number" : "" }, name)))),
    body,
  );
  const section = el("section", {}, el("h4", {}, `Inputs: ${counting.toLocaleString("en-GB")} count${counting === told.inputs.length ? "" : `, of ${told.inputs.length}`}`));
  const first = told.inputs[0];
  if (!first) {
    section.append(el("p", { class: "faint" }, "No record of its own: the bar is filled in from the one before, or it was withdrawn."));
    return section;
  }
  section.append(el("p", { class: "faint" }, `${dayText(first.event_time_ns)} UTC, from ${first.source}`), el("div", { class: "receipt-scroll" }, table));
  if (told.inputs.length > INPUTS_FIRST) {
    const more = el("button", { type: "button", class: "quiet-button" }, `Show all ${told.inputs.length.toLocaleString("en-GB")} inputs`);
    more.addEventListener("click", () => {
      show(told.inputs.length);
      more.remove();
    });
    section.append(more);
  }
  return section;
}

function line(input: Input): HTMLElement {
  const marks = [...(input.counts ? [] : ["does not count"]), ...input.marks].join("; ");
  return el(
    "tr", input.counts ? {} : { class: "out" },
    el("td", {}, timeText(input.event_time_ns)),
    el("td", { class: "number" }, exact(input.price)),
    el("td", { class: "number" }, exact(input.size)),
    el("td", { class: "place" }, input.offset < 0 ? "file" : `${input.offset}.${input.row}`),
    el("td", { class: "marks" }, marks),
  );
}

export function revisions(told: Receipt): HTMLElement {
  const names = told.values.filter((value) => value.before.indicator).map((value) => value.name);
  const words = { bars: "Bar", indicators: "Values", alerts: "Alert" };
  const rows = told.revisions.map((telling) =>
    el(
      "tr", {},
      el("td", {}, `${words[telling.table]} ${String(telling.values["revision"])}`),
      el("td", {}, telling.offset < 0 ? "the last" : `${telling.record} ${telling.offset}.${telling.row}`),
      el("td", {}, tellingText(telling, names)),
    ),
  );
  const table = el(
    "table", { class: "receipt-table" },
    el("thead", {}, el("tr", {}, ...["Revision", "Upon", "It said"].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...rows),
  );
  return el("section", {}, el("h4", {}, "Revisions"), el("div", { class: "receipt-scroll" }, table));
}

export function asText(told: Receipt): HTMLElement {
  return el("details", { class: "receipt-text" }, el("summary", {}, "As `marketpulse explain` prints it"), el("pre", { tabindex: "0" }, told.lines.join("\n")));
}
