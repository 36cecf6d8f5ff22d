/** Addresses of this view: `#/ask/losers?days=90` is a query of the library, `#/ask?sql=SELECT…` one's own. */

export type Dialect = "auto" | "duckdb" | "athena";
export type Show = "table" | "chart" | "plan";

/** A query: a name of the library with its values, or the text. */
export interface Asked {
  named: string | null;
  params: Record<string, string>;
  sql: string;
  dialect: Dialect;
}

export const NOTHING: Asked = { named: null, params: {}, sql: "", dialect: "auto" };

/** What stands behind `#/ask/` or `#/ask?`. */
export function readLink(rest: string): { asked: Asked; show: Show | null } {
  const named = /^([a-z_]+)(?:\?|$)/.exec(rest)?.[1] ?? null;
  const options = new URLSearchParams(named === null ? rest : rest.slice(named.length + 1));
  const show = options.get("show");
  const dialect = options.get("dialect");
  const params = named === null ? {} : Object.fromEntries([...options].filter(([name]) => name !== "show"));
  return {
    asked: {
      named,
      params,
      sql: named === null ? (options.get("sql") ?? "") : "",
      dialect: named === null && (dialect === "duckdb" || dialect === "athena") ? dialect : "auto",
    },
    show: show === "table" || show === "chart" || show === "plan" ? show : null,
  };
}

export function writeLink(asked: Asked, show: Show): string {
  const options = new URLSearchParams(asked.params);
  if (asked.named === null && asked.sql) options.set("sql", asked.sql);
  if (asked.named === null && asked.dialect !== "auto") options.set("dialect", asked.dialect);
  if (show !== "table") options.set("show", show);
  const text = options.toString().replaceAll("+", "%20");
  return `#/ask${asked.named === null ? "" : `/${asked.named}`}${text ? `?${text}` : ""}`;
}

export function sameQuery(a: Asked, b: Asked): boolean {
  return writeLink(a, "table") === writeLink(b, "table");
}
