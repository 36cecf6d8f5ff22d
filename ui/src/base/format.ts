/** Numbers and times as people read them. */

const MINUS = "−";

function fixed(value: number, decimals: number): string {
  const text = Math.abs(value).toFixed(decimals);
  const dot = text.indexOf(".");
  const whole = dot < 0 ? text : text.slice(0, dot);
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",") + (dot < 0 ? "" : text.slice(dot));
  return value < 0 && Number(text) !== 0 ? MINUS + grouped : grouped;
}

/** How many decimals the prices have: as many as the data itself carries, or what suits their size. */
export function decimalsOf(prices: readonly (number | null)[]): number {
  const known = prices.filter((p): p is number => p !== null && p > 0);
  if (known.length === 0) return 2;
  const typical = known[Math.floor(known.length / 2)]!;
  const [usual, most] = typical >= 20 ? [2, 3] : typical >= 1 ? [2, 5] : typical >= 0.01 ? [4, 6] : [8, 8];
  for (let decimals = 2; decimals <= most; decimals++) {
    if (known.every((p) => Math.abs(p - Number(p.toFixed(decimals))) <= 1e-12 * p)) return decimals;
  }
  return usual;
}

export function price(value: number | null | undefined, decimals: number): string {
  return value === null || value === undefined ? "–" : fixed(value, decimals);
}

/** +1.25 or −1.25; nothing that is smaller than what is shown gets a sign. */
export function signed(value: number, decimals: number): string {
  const text = fixed(value, decimals);
  return value > 0 && Number(value.toFixed(decimals)) !== 0 ? `+${text}` : text;
}

export function percent(value: number): string {
  return `${signed(value, 2)}%`;
}

/** Which way a change goes, as it is shown: a change that rounds to nothing goes nowhere. */
export function direction(percentChange: number | null | undefined): "up" | "down" | "flat" {
  if (percentChange === null || percentChange === undefined) return "flat";
  const shown = Number(percentChange.toFixed(2));
  return shown > 0 ? "up" : shown < 0 ? "down" : "flat";
}

export const ARROW = { up: "▲", down: "▼", flat: "■" } as const;

/** 950, 12.4 k, 3.21 M: three significant digits. */
export function compact(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  for (const [unit, word] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]] as const) {
    if (size >= unit * 0.9995) return `${digits(value / unit)}\u202f${word}`;
  }
  return Number.isInteger(value) ? fixed(value, 0) : digits(value);
}

function digits(value: number): string {
  const size = Math.abs(value);
  return fixed(value, size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

/** 42 ms, 1.20 s, 2 min. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  if (ms < 9.95) return `${ms.toFixed(1)}\u202fms`;
  if (ms < 999.5) return `${Math.round(ms)}\u202fms`;
  if (ms < 99_950) return `${digits(ms / 1000)}\u202fs`;
  if (ms < 5_400_000) return `${Math.round(ms / 60_000)}\u202fmin`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)}\u202fh`;
  return `${Math.round(ms / 86_400_000)}\u202fd`;
}

/** An indicator's value: enough digits to tell neighbours apart, whatever its size. */
export function value(number: number | null | undefined, decimals: number): string {
  if (number === null || number === undefined) return "–";
  const size = Math.abs(number);
  if (size !== 0 && size < 10 ** -decimals * 10) return fixed(number, Math.min(8, 3 - Math.floor(Math.log10(size))));
  return fixed(number, decimals);
}

const two = (n: number): string => String(n).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export function clock(ms: number): string {
  const t = new Date(ms);
  return `${two(t.getUTCHours())}:${two(t.getUTCMinutes())}:${two(t.getUTCSeconds())}`;
}

export function day(ms: number): string {
  const t = new Date(ms);
  return `${t.getUTCDate()} ${MONTHS[t.getUTCMonth()]} ${t.getUTCFullYear()}`;
}

/** "31 Dec 2014" when a time lies more than a day back, else nothing. */
export function asOf(ms: number, nowMs: number): string {
  return ms > 0 && nowMs - ms > 2 * 86_400_000 ? day(ms) : "";
}

/** What is said of a bar beside its numbers; nothing of one that stands as it closed. */
export function revisionText(revision: number): string {
  if (revision < 0) return "forming";
  return revision === 0 ? "" : revision === 1 ? "revised" : `revised ×${revision}`;
}

/** A bar's time as its timeframe needs it: the day, the minute or the second. */
export function barTime(ms: number, timeframe: string): string {
  if (timeframe.endsWith("d")) return day(ms);
  const time = clock(ms);
  return `${day(ms)} ${/[st]$/.test(timeframe) ? time : time.slice(0, 5)}`;
}
