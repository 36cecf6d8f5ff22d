/** What is said beside a result. */

import type { Limits } from "./api.ts";

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en-US")} ${n === 1 ? one : many}`;
}

/** 8 s, 12 min, 5 h, 3 days: as `marketpulse sql` says it. */
export function span(ms: number): string {
  const seconds = Math.max(0, ms) / 1_000;
  for (const [length, name] of [[86_400, "days"], [3_600, "h"], [60, "min"]] as const) {
    if (seconds >= 2 * length) return `${Math.round(seconds / length)} ${name}`;
  }
  return `${Math.round(seconds)} s`;
}

/** How old the picture is that a query saw. */
export function ageText(committedMs: number | null, nowMs: number): string {
  return committedMs === null ? "" : `as of the newest commit, ${span(nowMs - committedMs)} ago`;
}

export function limitsText({ timeout_s, memory_limit_mb, rows_max, at_once, waiting }: Limits): string {
  return (
    `A query may take ${span(timeout_s * 1_000)} and ${memory_limit_mb.toLocaleString("en-US")} MB of memory; what needs more is told so. ` +
    `An answer has at most ${count(rows_max, "row")}. ${count(at_once, "query runs", "queries run")} at once and ${waiting.toLocaleString("en-US")} wait. ` +
    "Only one SELECT over these tables is taken: nothing can be changed from here. The settings under [sql] set all this."
  );
}

/** The message without the lines that repeat the query: the editor shows the place. */
export function plainError(message: string): string {
  return message.split(/\n+LINE \d+: /)[0]!.trim();
}
