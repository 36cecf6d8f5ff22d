/** Changes of alerts made into firings, and which of them are shown. Pure. */

import type { Change } from "../live/alert_book.ts";

/** An alert from its raise to its end. */
export interface Firing {
  id: string;
  /** `standing`: raised now. `ended`: raised, and its rule runs no more, or is another one. */
  state: "standing" | "cleared" | "withdrawn" | "ended";
  severity: string;
  symbol: string;
  rule: string;
  timeframe: string;
  /** Null: it was raised before what the page has. */
  raisedMs: number | null;
  endMs: number | null;
  openMs: number;
  late: boolean;
  value: number | null;
  message: string;
  /** Which time it stands at in the list. */
  sortNs: string;
}

/** What is to be known of a rule to tell which of its alerts stand. */
export interface RuleBeginning {
  name: string;
  muted: boolean;
  begins: readonly number[];
}

export interface Filter {
  states: ReadonlySet<string>;
  severities: ReadonlySet<string>;
  symbol: string;
  rule: string;
}

export const STATES = ["standing", "cleared", "withdrawn"] as const;
export const SEVERITIES = ["critical", "warning", "info", "muted"] as const;
export const NO_FILTER: Filter = { states: new Set(), severities: new Set(), symbol: "", rule: "" };

/** Newest first. `changes`: oldest first. `rules` null: not known yet, so each is taken to run. */
export function firingsOf(changes: readonly Change[], rules: readonly RuleBeginning[] | null): Firing[] {
  const byRule = rules === null ? null : new Map(rules.map((rule) => [rule.name, rule]));
  const open = new Map<string, Firing>();
  const found: Firing[] = [];
  for (const change of changes) {
    const pair = `${change.symbol}\n${change.rule}`;
    const before = open.get(pair);
    if (change.state === "cleared") {
      open.delete(pair);
      if (before) Object.assign(before, { state: "cleared", endMs: change.atMs });
      else found.push({ ...firingOf(change), state: "cleared", raisedMs: null, endMs: change.atMs });
      continue;
    }
    const firing = firingOf(change);
    found.push(firing);
    if (change.state === "withdrawn") continue;
    if (before) before.state = "ended"; // raised again without a clearing: by another rule of this name
    if (byRule !== null && !tellsStill(byRule.get(change.rule), change)) firing.state = "ended";
    open.set(pair, firing);
  }
  return found.reverse();
}

function firingOf(change: Change): Firing {
  const { id, symbol, rule, timeframe, severity, openMs, late, value, message } = change;
  const state = change.state === "withdrawn" ? "withdrawn" : "standing";
  return { id, state, severity, symbol, rule, timeframe, raisedMs: change.atMs, endMs: null, openMs, late, value, message, sortNs: change.eventNs };
}

/** Whether the rule that raised it is the one that runs under its name. */
function tellsStill(rule: RuleBeginning | undefined, change: Change): boolean {
  if (!rule) return false;
  if (change.partition === null || change.offset === null) return true;
  return change.offset >= (rule.begins[change.partition] ?? 0);
}

export function passes(firing: Firing, filter: Filter): boolean {
  const state = firing.state === "ended" ? "cleared" : firing.state;
  if (filter.states.size && !filter.states.has(state)) return false;
  if (filter.severities.size && !filter.severities.has(firing.severity)) return false;
  if (filter.symbol && firing.symbol.toLowerCase() !== filter.symbol.toLowerCase()) return false;
  return !filter.rule || firing.rule === filter.rule;
}

/** `#/alerts?state=standing&severity=critical` and back. */
export function readFilter(rest: string): Filter {
  const asked = new URLSearchParams(rest);
  const some = (name: string, known: readonly string[]): Set<string> => new Set(asked.getAll(name).filter((one) => known.includes(one)));
  return {
    states: some("state", STATES), severities: some("severity", SEVERITIES), symbol: asked.get("symbol") ?? "", rule: asked.get("rule") ?? "",
  };
}

export function writeFilter(filter: Filter): string {
  const said = new URLSearchParams();
  for (const state of filter.states) said.append("state", state);
  for (const severity of filter.severities) said.append("severity", severity);
  if (filter.symbol) said.append("symbol", filter.symbol);
  if (filter.rule) said.append("rule", filter.rule);
  const text = said.toString();
  return text ? `#/alerts?${text}` : "#/alerts";
}

/** What the server is asked for when older ones are wanted: a firing's end may pass the filter where its raise does not. */
export function olderQuery(filter: Filter, cursor: string | null, limit: number): string {
  const asked = new URLSearchParams({ withdrawn: "true", limit: String(limit) });
  if (cursor) asked.set("cursor", cursor);
  if (filter.symbol) asked.append("symbol", filter.symbol);
  if (filter.rule) asked.append("rule", filter.rule);
  return `/api/alerts?${asked.toString()}`;
}

/** "3 stand now", "nothing stands now": with what is muted beside it. */
export function standsText(standing: readonly Firing[], muted: ReadonlySet<string>): string {
  const loud = standing.filter((f) => !muted.has(f.rule)).length;
  const quiet = standing.length - loud;
  const said = loud === 0 ? "Nothing stands now" : loud === 1 ? "1 stands now" : `${loud} stand now`;
  return quiet ? `${said}, and ${quiet} muted` : said;
}

/** 45 s, 12 min, 3 h 20 min, 2 d 4 h: how long something stood. */
export function stoodText(ms: number): string {
  const seconds = Math.max(0, ms / 1000);
  if (seconds < 60) return `${seconds < 10 && seconds % 1 ? seconds.toFixed(1) : Math.round(seconds)}\u202fs`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}\u202fmin`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours}\u202fh ${minutes % 60}\u202fmin` : `${hours}\u202fh`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days}\u202fd ${hours % 24}\u202fh` : `${days}\u202fd`;
}
