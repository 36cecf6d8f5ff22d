/** The address of a chart: #AAPL/1m */

import type { Place } from "../live/protocol.ts";

export function readLink(hash: string): Partial<Place> {
  const [symbol = "", timeframe = ""] = hash.replace(/^#/, "").split("/");
  const place: Partial<Place> = {};
  try {
    if (symbol) place.symbol = decodeURIComponent(symbol);
  } catch {
    return {};
  }
  if (/^[1-9]\d{0,5}[smhdt]$/.test(timeframe)) place.timeframe = timeframe;
  return place;
}

export function writeLink(place: Place): string {
  return `#${encodeURIComponent(place.symbol)}/${place.timeframe}`;
}

/** The wanted timeframe where a symbol has it, else what it has that is nearest to a minute. */
export function possibleTimeframe(wanted: string, has: readonly string[]): string {
  return has.length === 0 || has.includes(wanted) ? wanted : usualTimeframe(has);
}

/** What to show when nothing was asked for: a minute, or what is nearest to it. */
export function usualTimeframe(timeframes: readonly string[]): string {
  return ["1m", "5m", "1s", "1h", "1d"].find((t) => timeframes.includes(t)) ?? timeframes[0] ?? "1m";
}
