/** What the scorecard says of a source, in words. Pure. */

import type { GapsByState, MinuteMarks, Score, Source } from "./protocol.ts";

/** A row of the table: what the log says (null: not heard yet) and what the process says (null: it does not run here). */
export interface ScoreRow {
  source: string;
  score: Score | null;
  process: Source | null;
}

export function rowsOf(scores: readonly Score[], processes: readonly Source[]): ScoreRow[] {
  const names = [...new Set([...scores.map((s) => s.source), ...processes.map((s) => s.source)])].sort();
  return names.map((source) => ({
    source,
    score: scores.find((s) => s.source === source) ?? null,
    process: processes.find((s) => s.source === source) ?? null,
  }));
}

/** 99.94 % is not 100 %: rounded down to a tenth. */
export function shareText(share: number | null | undefined): string {
  return share === null || share === undefined ? "–" : `${Math.floor(share * 1_000) / 10}%`;
}

export function shareTone(share: number | null | undefined): "good" | "warn" | "faint" {
  if (share === null || share === undefined) return "faint";
  return share >= 0.99 ? "good" : "warn";
}

export function bpsText(bps: number | null | undefined): string {
  if (bps === null || bps === undefined) return "–";
  return bps < 0.995 ? bps.toFixed(2) : bps < 9.95 ? bps.toFixed(1) : String(Math.round(bps));
}

/** The gaps in the words of missed.ts: trades by what became of them. */
export function missedOf(gaps: GapsByState): Pick<Source, "missing" | "gaps"> {
  const { found, healed, open } = gaps;
  return {
    missing: { found: found.trades + healed.trades + open.trades, healed: healed.trades, given_up: open.trades },
    gaps: found.gaps + open.gaps,
  };
}

/** "18 of 25", "3", "–". */
export function requestsText(requests: Score["requests"]): string {
  if (!requests) return "–";
  return requests.a_day === null ? String(requests.asked) : `${requests.today} of ${requests.a_day}`;
}

export interface Run {
  from: number;
  to: number;
  mark: string;
}

/** The minutes of a strip as runs of equal ones. */
export function runsOf(minutes: MinuteMarks): Run[] {
  const runs: Run[] = [];
  for (let i = 0; i < minutes.length; i++) {
    const last = runs.at(-1);
    if (last && last.mark === minutes[i]) last.to = i + 1;
    else runs.push({ from: i, to: i + 1, mark: minutes[i]! });
  }
  return runs;
}

/** The runs of one kind as an SVG path in a box of one unit a minute. */
export function stripPath(minutes: MinuteMarks, mark: string, height: number): string {
  return runsOf(minutes)
    .filter((run) => run.mark === mark)
    .map((run) => `M${run.from} 0H${run.to}V${height}H${run.from}Z`)
    .join("");
}
