/** Addresses: `#/alerts` names a view, `#AAPL/1m` a chart. */

export const VIEWS = ["market", "symbol", "alerts", "pipeline", "ask"] as const;
export type ViewName = (typeof VIEWS)[number];

export interface Address {
  view: ViewName;
  /** What stands behind the view's name, for the view to read. */
  rest: string;
}

/** Every hash is an address: one that names no view is the chart's. */
export function readAddress(hash: string): Address {
  const text = hash.replace(/^#/, "");
  const [, name = "", rest = ""] = /^\/([a-z]+)(?:[/?](.*))?$/.exec(text) ?? [];
  const view = VIEWS.find((v) => v === name);
  if (view === undefined) return { view: "symbol", rest: text.startsWith("/") ? "" : text };
  return { view, rest };
}
