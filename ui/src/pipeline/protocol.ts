/** What /api/pipeline and /api/dead-letters answer: the JSON of marketpulse/app/observing/picture.py. */

import type { Figures } from "../live/protocol.ts";

export interface Process {
  name: string;
  pid: number;
  trouble: string | null;
  cpu_cores: number | null;
  memory_bytes: number | null;
  started_ms: number | null;
  restarts: number;
  where: string | null;
}

export interface Source {
  source: string;
  rows_per_s: number;
  rows: number;
  types: Record<string, number>;
  rejected: Record<string, number>;
  /** Rows that the engine has read of it, and those of them that were duplicates, late or refused. */
  engine: { rows?: number; duplicates?: number; late?: number; refused?: number };
  faults: number;
  reconnects: number;
  gaps: number;
  /** Trades by what became of them: found missing, healed, given up. */
  missing: { found?: number; healed?: number; given_up?: number };
  watermark_delay_ms: number | null;
  /** Rows that wait on the disk for the broker, and for how long the oldest of them has, in seconds. */
  rows_on_disk: number;
  on_disk_s: number;
}

export interface Engine {
  records_per_s: number;
  rows_out_per_s: Record<string, number>;
  workers: number;
  symbols: number;
  state_bytes: number;
  late_trades: number;
  duplicate_trades: number;
  out_of_session: number;
  crossed_quotes: number;
  quality: Record<string, number>;
  bars_revised: number;
  dead_letters: Record<string, number>;
}

export interface Sink {
  sink: string;
  rows_per_s: number;
  rows: number;
  lag_records: number;
  faults: number;
  p50_ms: number | null;
  p99_ms: number | null;
}

export interface Hop {
  hop: string;
  per_s: number;
  p50_ms: number | null;
  p99_ms: number | null;
}

export interface Parity {
  rows_checked: number;
  rows_per_s: number;
  drift_rows: number;
  skipped_records: number;
}

export interface Finding {
  severity: "down" | "degraded" | "note";
  what: string;
  do: string;
}

export interface Picture {
  now_ms: number;
  span_s: number;
  processes: Process[];
  sources: Source[];
  engine: Engine;
  sinks: Sink[];
  page: { connected: number; frames_per_s: number };
  hops: Hop[];
  parity: Parity | null;
  free_bytes: number;
  findings: Finding[];
}

export interface PipelineAnswer {
  figures: Figures;
  /** Null: the processes have not been asked yet. */
  pipeline: Picture | null;
}

export interface GapCounts {
  gaps: number;
  trades: number;
}

export interface GapsByState {
  found: GapCounts;
  healed: GapCounts;
  open: GapCounts;
}

/** A source in /api/sources: counts are of the last hours; null means not known, or nothing for this source. */
export interface Score {
  source: string;
  kind: string | null;
  state: "live" | "silent" | "ended";
  mode: "live" | "historical";
  simulated: boolean;
  symbols: number;
  rows_per_s: number;
  lag_p50_ms: number | null;
  lag_p99_ms: number | null;
  behind_ms: number | null;
  coverage: number | null;
  gaps: GapsByState;
  quality: Record<string, number>;
  dead_letters: Record<string, number>;
  disagreement_p50_bps: number | null;
  disagreement_p99_bps: number | null;
  requests: { asked: number; today: number | null; a_day: number | null } | null;
}

export interface ScoresAnswer {
  hours: number;
  log_time_ms: number | null;
  catching_up: boolean;
  sources: Score[];
}

/** A character a minute: 1 with rows, 0 without, . not counted. */
export type MinuteMarks = string;

export interface SymbolScore {
  symbol: string;
  venue: string | null;
  calendar: string;
  rows: number;
  newest_event_ms: number;
  coverage: number | null;
  minutes: MinuteMarks;
}

export interface GapScore {
  symbol: string;
  state: "found" | "healed" | "open";
  from_ms: number;
  to_ms: number;
  trades: number | null;
  reason: string;
  told_ms: number;
}

export interface Apart {
  instrument: string;
  symbol: string;
  other_source: string;
  other_symbol: string;
  minutes: number;
  p50_bps: number | null;
  p99_bps: number | null;
  line_bps: (number | null)[];
}

export interface SymbolsAnswer {
  from_ms: number;
  to_ms: number;
  symbols: SymbolScore[];
  gaps: GapScore[];
  disagreements: Apart[];
}

export interface Letter {
  letter_partition: number;
  letter_offset: number;
  appended_ms: number;
  reason: string;
  detail: string;
  topic: string;
  partition: number;
  offset: number;
  row: number | null;
  symbol: string | null;
  key: string | null;
  value: string | null;
  /** The record was longer than what is shown of it. */
  cut: boolean;
  sent_to: Place | null;
}

export interface Place {
  topic: string;
  partition: number;
  offset: number;
}
