/** The alerts' API: every answer is JSON, every fault has a sentence that says what to do. */

import type { RuleBeginning } from "./model.ts";

export interface Rule extends RuleBeginning {
  expression: string;
  timeframe: string;
  severity: string;
  message: string;
  for_s?: number;
  cooldown_s?: number;
  clear?: string;
  symbols?: string[];
  version: string;
  from: "configuration" | "control";
}

export interface RuleChange {
  name: string;
  action: string;
  time_ms: number;
  offsets: number[];
  /** In how many partitions the engine has taken it. */
  taken: number;
}

export interface Rules {
  rules: Rule[];
  changes: RuleChange[];
  partitions: number;
}

export interface Fault {
  field: string;
  message: string;
  at: number | null;
}

export interface Checked {
  faults: Fault[];
  reads: string[];
  timeframe: string;
  computable: string[];
}

export interface Tried {
  firings: number;
  flaps: number;
  standing: number;
  symbols: number;
  rows: number;
  timeframe: string;
  from_ms: number | null;
  to_ms: number | null;
  flap_bars: number;
  computed: string[];
  by_symbol: { symbol: string; firings: number }[];
  list: TriedFiring[];
  more: number;
  charts: TriedChart[];
}

export interface TriedFiring {
  symbol: string;
  raised_ms: number;
  open_ms: number;
  cleared_ms: number | null;
  held_ms: number | null;
  bars: number | null;
  value: number | null;
  message: string;
  flap: boolean;
}

export interface TriedChart {
  symbol: string;
  times_ms: number[];
  lines: { name: string; values: (number | null)[] }[];
  levels: number[];
  level_of: string | null;
}

export class Refused extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

export async function ask<T>(path: string, options: { method?: string; body?: unknown; headers?: Record<string, string>; signal?: AbortSignal } = {}): Promise<T> {
  const { method = "GET", body, headers = {}, signal } = options;
  let answer: Response;
  try {
    answer = await fetch(path, {
      method, signal: signal ?? null, headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refused("MarketPulse does not answer: it may have stopped. Try again when it is back.", 0);
  }
  const found = (await answer.json().catch(() => null)) as { error?: string } | null;
  if (!answer.ok || found === null) throw new Refused(found?.error ?? `the server answered ${answer.status}: try again`, answer.status);
  return found as T;
}

/** A rule's fields as the engine takes them. */
export function saveRule(fields: Record<string, unknown>, version: string | null): Promise<{ said: string; offsets: number[] }> {
  const headers: Record<string, string> = version === null ? { "if-none-match": "*" } : { "if-match": `"${version}"` };
  return ask(`/api/alerts/rules/${encodeURIComponent(String(fields["name"]))}`, { method: "PUT", body: { rule: fields }, headers });
}

export function muteRule(rule: Rule, muted: boolean): Promise<{ said: string; offsets: number[] }> {
  const headers = { "if-match": `"${rule.version}"` };
  return ask(`/api/alerts/rules/${encodeURIComponent(rule.name)}/mute`, { method: "POST", body: { muted }, headers });
}

export function removeRule(rule: Rule): Promise<{ said: string; offsets: number[] }> {
  return ask(`/api/alerts/rules/${encodeURIComponent(rule.name)}`, { method: "DELETE", headers: { "if-match": `"${rule.version}"` } });
}
