/** What moved, how much: a sentence, and the breadth of the market as a bar. */

import { el, say, set } from "../base/dom.ts";
import { clock, compact, day, percent } from "../base/format.ts";
import type { Breadth, Line } from "./model.ts";
import { rank } from "./model.ts";

const DAY_MS = 86_400_000;

/** One sentence on the whole, one on who leads and who trails. */
export function headline(breadth: Breadth, lines: readonly Line[]): [string, string] {
  const all = breadth.up + breadth.down + breadth.flat;
  if (all === 0) return ["No symbol has two prices to compare yet.", ""];
  const share = (count: number): string => `${count} of ${all}`;
  const whole =
    breadth.up > 1.5 * breadth.down ? `Most rise: ${share(breadth.up)} symbols are up.`
    : breadth.down > 1.5 * breadth.up ? `Most fall: ${share(breadth.down)} symbols are down.`
    : breadth.up + breadth.down === 0 ? `Nothing has moved: all ${all} symbols stand where they began.`
    : `A mixed market: ${breadth.up} up, ${breadth.down} down.`;
  const [best, worst] = [rank(lines, "gainers", 1)[0], rank(lines, "losers", 1)[0]];
  const leads = best ? `${best.quote.symbol} leads with ${percent(best.percent!)}` : "";
  const trails = worst ? `${worst.quote.symbol} ${best ? "falls most" : "falls most of all"}, ${percent(worst.percent!)}` : "";
  return [whole, [leads, trails].filter(Boolean).join("; ") + (leads || trails ? "." : "")];
}

export class Headline {
  readonly root = el("header", { class: "market-head" });
  readonly #whole = el("p", { class: "market-headline" });
  readonly #leaders = el("p", { class: "market-leaders" });
  readonly #bar = el("div", { class: "breadth-bar", role: "img" });
  readonly #parts = (["up", "flat", "down"] as const).map((way) => ({ way, part: el("i", { class: `breadth-${way}` }), text: el("span", { class: way }) }));
  readonly #open = el("span", { class: "breadth-open", title: "Share of the symbols whose last price is above the first price of their session" });

  constructor() {
    this.#bar.append(...this.#parts.map(({ part }) => part));
    const words = el("p", { class: "breadth-words" }, ...this.#parts.map(({ text }) => text), this.#open);
    this.root.append(
      el("div", { class: "market-words" }, el("h2", { class: "market-title" }, "Market"), this.#whole, this.#leaders),
      el("section", { class: "breadth", "aria-label": "Breadth" }, el("h3", {}, "Breadth"), this.#bar, words),
    );
  }

  show(breadth: Breadth, lines: readonly Line[], nowMs: number): void {
    const [whole, leaders] = headline(breadth, lines);
    say(this.#whole, whole);
    const newest = Math.max(0, ...lines.map(({ quote }) => quote.lastTimeMs));
    const asOf = newest === 0 ? "" : ` As of ${nowMs - newest > DAY_MS ? `${day(newest)} ` : ""}${clock(newest)} UTC.`;
    const traded = breadth.value > 0 ? ` ${compact(breadth.value)} traded.` : "";
    say(this.#leaders, leaders + traded + asOf);
    const words = { up: "up", flat: "unchanged", down: "down" };
    for (const { way, part, text } of this.#parts) {
      part.style.setProperty("flex-grow", String(breadth[way]));
      say(text, `${breadth[way]} ${words[way]}`);
    }
    set(this.#bar, "aria-label", `${breadth.up} up, ${breadth.flat} unchanged, ${breadth.down} down`);
    say(this.#open, breadth.withOpen ? `${Math.round((100 * breadth.aboveOpen) / breadth.withOpen)}% above their open` : "");
  }
}
