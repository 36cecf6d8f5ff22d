/** The queries that were run in this browser, the newest first. Pure: where they are kept is given. */

import { sameQuery } from "./link.ts";
import type { Asked } from "./link.ts";

export interface PastQuery {
  asked: Asked;
  atMs: number;
  tookMs: number | null;
  rows: number | null;
  /** Why it was refused, in a line; null: it answered. */
  error: string | null;
}

const MOST = 200;
const TEXT_MOST = 20_000; // longer ones are not kept: the browser's store is small

export function withRun(past: readonly PastQuery[], run: PastQuery): PastQuery[] {
  if (run.asked.sql.length > TEXT_MOST) return [...past];
  return [run, ...past.filter((one) => !sameQuery(one.asked, run.asked))].slice(0, MOST);
}

/** Those that hold every word. */
export function matching(past: readonly PastQuery[], words: string): PastQuery[] {
  const sought = words.toLowerCase().split(/\s+/).filter(Boolean);
  return past.filter((one) => sought.every((word) => textOf(one.asked).toLowerCase().includes(word)));
}

export function textOf(asked: Asked): string {
  if (asked.named === null) return asked.sql.trim();
  return [asked.named, ...Object.entries(asked.params).map(([name, value]) => `${name}=${value}`)].join(" ");
}

/** What was kept before; what is not readable is forgotten. */
export function readPast(kept: string | null): PastQuery[] {
  try {
    const past: unknown = JSON.parse(kept ?? "[]");
    return Array.isArray(past) ? past.filter(isPast) : [];
  } catch {
    return [];
  }
}

function isPast(one: unknown): one is PastQuery {
  const { asked, atMs } = (one ?? {}) as Partial<PastQuery>;
  return typeof atMs === "number" && typeof asked?.sql === "string" && typeof asked.params === "object" && asked.params !== null;
}
