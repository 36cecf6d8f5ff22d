/** What stands in the chart's place while there is none. */

import { byId, el, say } from "../base/dom.ts";
import { compact } from "../base/format.ts";
import type { Figures, Place } from "../live/protocol.ts";

const BARS = 48;

/** Grey bars, for the moment before the first frame. */
export function drawSkeleton(): void {
  for (let i = 0; i < BARS; i++) {
    const bar = el("i");
    bar.style.setProperty("--h", String(Math.round(28 + 22 * Math.sin(i / 5) + 14 * Math.sin(i / 1.7) + i / 3)));
    byId("skeleton").append(bar);
  }
}

/** `nothing`: the figures of a pipeline without any bar; `rowless`: a chart without bars. */
export function showEmpty(nothing: Figures | null, rowless: Place | null): void {
  byId("empty").hidden = nothing === null && rowless === null;
  if (nothing) write("Waiting for the first bar", waitingText(nothing));
  else if (rowless) write(`No ${rowless.timeframe} bars of ${rowless.symbol} yet`, ["They appear here by themselves as soon as the first one forms."]);
}

/** What the wait is for: every second text is code. */
function waitingText(figures: Figures): string[] {
  if (figures.lag_records) return [`Data comes in; the engine has ${compact(figures.lag_records)} records to go through.`];
  if (figures.events_per_s) return ["Data comes in; the first bar shows as soon as it forms."];
  return ["Nothing has come through the log yet. Feed it with ", "marketpulse produce", ", or run everything with ", "marketpulse up", "."];
}

function write(title: string, text: string[]): void {
  const node = byId("empty-text");
  if (byId("empty-title").textContent === title && node.textContent === text.join("")) return;
  say(byId("empty-title"), title);
  node.replaceChildren(...text.map((part, i) => (i % 2 ? el("code", {}, part) : part)));
}
