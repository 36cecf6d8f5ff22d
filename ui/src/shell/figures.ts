/** The pipeline's figures, as pairs of a name and a text. */

import { el, say } from "../base/dom.ts";
import { compact, duration } from "../base/format.ts";
import type { Figures } from "../live/protocol.ts";
import type { FigureSample } from "../live/store.ts";

export interface Figure {
  name: string;
  title: string;
  text: (f: Figures) => string;
  warns?: (f: Figures, before: FigureSample) => boolean;
}

const LAG_HIGH = 50_000;

export const FIGURES: Figure[] = [
  { name: "Events", title: "Records that came into the log, a second", text: (f) => `${compact(round(f.events_per_s))}/s` },
  { name: "Latency p50", title: "From a trade's arrival to this page: half of them took less", text: (f) => duration(f.latency_p50_ms) },
  {
    name: "p99",
    title: "From a trade's arrival to this page: 99 of 100 took less",
    text: (f) => duration(f.latency_p99_ms),
    warns: (f) => (f.latency_p99_ms ?? 0) > 5_000,
  },
  { name: "Lag", title: "Records in the log that the engine has not taken yet", text: (f) => compact(f.lag_records), warns: (f) => (f.lag_records ?? 0) > LAG_HIGH },
  { name: "Dead letters", title: "Records set aside, each with its reason; marked when there were more in the last two minutes", text: (f) => compact(f.dead_letters), warns: (f, before) => before.deadLetters !== null && (f.dead_letters ?? 0) > before.deadLetters },
  { name: "Bars", title: "Bars closed a second", text: (f) => `${compact(round(f.bars_per_s))}/s` },
  { name: "Symbols", title: "Symbols on this page", text: (f) => compact(f.symbols) },
];

export function round(value: number | null): number | null {
  return value === null ? null : value >= 10 ? Math.round(value) : Math.round(value * 10) / 10;
}

export interface Pair {
  root: HTMLElement;
  text: HTMLElement;
}

export function pair(figure: Figure): Pair {
  const text = el("dd", {}, "–");
  return { root: el("div", { title: figure.title }, el("dt", {}, figure.name), text), text };
}

export function write(into: Pair, figure: Figure, figures: Figures, before: FigureSample): void {
  say(into.text, figure.text(figures));
  into.root.classList.toggle("warns", figure.warns?.(figures, before) ?? false);
}
