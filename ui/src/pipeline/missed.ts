/** What became of the trades that a feed did not bring. Pure. */

import { compact } from "../base/format.ts";
import type { Source } from "./protocol.ts";

/** Those that are still asked for. */
export function openOf({ missing }: Pick<Source, "missing">): number {
  return Math.max(0, (missing.found ?? 0) - (missing.healed ?? 0) - (missing.given_up ?? 0));
}

/** "0", "46, all healed", "46, 3 open", "46, 12 lost". */
export function missedText(source: Pick<Source, "missing">): string {
  const { found = 0, given_up: lost = 0 } = source.missing;
  const open = openOf(source);
  if (!found) return "0";
  const rest = [...(open ? [`${compact(open)} open`] : []), ...(lost ? [`${compact(lost)} lost`] : [])];
  return [compact(found), ...(rest.length ? rest : ["all healed"])].join(", ");
}
