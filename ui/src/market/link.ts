/** The address of the market: #/market?sort=change&up&text=btc. What is as usual is left out. */

import { COLUMNS, USUAL } from "./model.ts";
import type { Wanted } from "./model.ts";

export const SIZES = ["auto", "value", "root", "equal"] as const;
export type Size = (typeof SIZES)[number];

export interface Asked extends Wanted {
  size: Size;
}

export const ASKED: Asked = { ...USUAL, size: "auto" };

export function readAsked(rest: string): Asked {
  const given = new URLSearchParams(rest.replace(/^.*\?/, ""));
  const one = <T extends string>(name: string, of: readonly T[], usual: T): T => of.find((word) => word === given.get(name)) ?? usual;
  const sort = one("sort", COLUMNS, USUAL.sort);
  return {
    sort,
    down: one("order", ["up", "down"], sort === "symbol" ? "up" : "down") === "down",
    text: (given.get("text") ?? "").slice(0, 64),
    venue: (given.get("venue") ?? "").slice(0, 64),
    kind: one("kind", ["all", "real", "simulated"], "all"),
    direction: one("direction", ["all", "up", "down", "flat"], "all"),
    size: one("size", SIZES, "auto"),
  };
}

export function writeAsked(asked: Asked): string {
  const given = new URLSearchParams();
  if (asked.sort !== USUAL.sort) given.set("sort", asked.sort);
  if (asked.down !== (asked.sort !== "symbol")) given.set("order", asked.down ? "down" : "up");
  for (const name of ["text", "venue", "kind", "direction", "size"] as const) {
    if (asked[name] !== ASKED[name]) given.set(name, asked[name]);
  }
  const text = given.toString();
  return text ? `#/market?${text}` : "#/market";
}

/** Where a symbol's name leads. */
export function symbolLink(symbol: string): string {
  return `#${encodeURIComponent(symbol)}`;
}
