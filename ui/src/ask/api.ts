/** /api/sql, as this view asks it. */

import type { Cell, Column } from "./columns.ts";
import { parseExact } from "./exact.ts";
import type { Asked } from "./link.ts";

export interface Parameter {
  name: string;
  kind: "count" | "number" | "text" | "pattern" | "time";
  /** SQL: a literal; of a time the SELECT that finds it. */
  default: string;
  meaning: string;
}

export interface NamedQuery {
  name: string;
  title: string;
  meaning: string;
  sql: string;
  parameters: Parameter[];
}

export interface Table {
  name: string;
  meaning: string;
  columns: Column[];
}

export interface Limits {
  timeout_s: number;
  memory_limit_mb: number;
  rows_max: number;
  at_once: number;
  waiting: number;
}

export interface Answer {
  id: string;
  dialect: "duckdb" | "athena";
  took_ms: number;
  offset: number;
  row_count: number;
  more: boolean;
  columns: Column[];
  rows: Cell[][];
  /** When the newest of what was read was stored; null: nothing was. */
  committed_ms: number | null;
  /** Of a named query: which days it covers and, without rows, why and what to try. */
  note?: string;
}

export interface Scan {
  table: string;
  columns: number;
  condition: string;
  files: number;
  files_in_all: number;
  row_groups: number;
  row_groups_in_all: number;
}

export interface Plan {
  sql: string;
  dialect: "duckdb" | "athena";
  scans: Scan[];
  plan: string;
}

/** What went wrong; line and column count from 1. */
export class Refusal extends Error {
  constructor(
    message: string,
    readonly kind: string,
    readonly line: number | null = null,
    readonly column: number | null = null,
  ) {
    super(message);
  }
}

const AWAY = "The server does not answer. Is `marketpulse up` or `marketpulse serve` running? Then run it again.";

async function reach(path: string, options: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if ((error as Error).name === "AbortError") throw new Refusal("The query was cancelled.", "cancelled");
    throw new Refusal(AWAY, "away");
  }
  if (response.ok) return response;
  let told: { error?: string; kind?: string; line?: number | null; column?: number | null } = {};
  try {
    told = (await response.json()) as typeof told;
  } catch {
    // not the API's own words
  }
  throw new Refusal(
    told.error ?? `The server answered ${response.status}.`,
    told.kind ?? (response.status === 429 ? "busy" : "failed"),
    told.line ?? null,
    told.column ?? null,
  );
}

const posted = (body: object, signal?: AbortSignal): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
  ...(signal ? { signal } : {}),
});

const question = ({ named, params, sql, dialect }: Asked): object => (named === null ? { sql, dialect } : { named, params });

export async function library(): Promise<NamedQuery[]> {
  return ((await (await reach("/api/sql/named")).json()) as { queries: NamedQuery[] }).queries;
}

export async function schema(): Promise<{ tables: Table[]; limits: Limits }> {
  return (await (await reach("/api/sql/schema")).json()) as { tables: Table[]; limits: Limits };
}

/** Aborting hangs up, which stops it too. */
export async function run(asked: Asked, id: string, limit: number, signal: AbortSignal): Promise<Answer> {
  const response = await reach("/api/sql", posted({ ...question(asked), id, limit, format: "json" }, signal));
  return parseExact(await response.text()) as Answer;
}

/** Whether the query still waits for its turn. */
export async function isWaiting(id: string): Promise<boolean> {
  const { queries } = (await (await reach("/api/sql/running")).json()) as { queries: { id: string; state: string }[] };
  return queries.some((one) => one.id === id && one.state === "waiting");
}

export async function stop(id: string): Promise<void> {
  await reach(`/api/sql/${id}`, { method: "DELETE" });
}

export async function explain(asked: Asked, signal: AbortSignal): Promise<Plan> {
  return (await (await reach("/api/sql/explain", posted(question(asked), signal))).json()) as Plan;
}

/** The rows as a file, and whether there are more than it holds. */
export async function file(asked: Asked, format: "csv" | "parquet", limit: number): Promise<{ blob: Blob; more: boolean; rows: number }> {
  const response = await reach("/api/sql", posted({ ...question(asked), limit, format }));
  return {
    blob: await response.blob(),
    more: response.headers.get("x-more-rows") === "true",
    rows: Number(response.headers.get("x-row-count")),
  };
}
