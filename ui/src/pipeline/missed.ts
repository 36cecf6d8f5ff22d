/** What became of the trades that a feed did not bring. Pure. */

import { compact } from "../base/format.ts";
import type { Source } from "./protocol.ts";

type Told = Pick<Source, "missing" | "gaps">;

/** Where trades do not count, nobody knows how many are missing until they have come. */
function foundOf({ missing }: Told): number {
  return Math.max(missing.found ?? 0, (missing.healed ?? 0) + (missing.given_up ?? 0));
}

/** Those that are still asked for. */
export function openOf(source: Told): number {
  return foundOf(source) - (source.missing.healed ?? 0) - (source.missing.given_up ?? 0);
}

/** "0", "46, all healed", "46, 3 open", "46, 12 lost"; "2 gaps" where none has come of them. */
export function missedText(source: Told): string {
  const found = foundOf(source);
  if (!found) return source.gaps ? `${compact(source.gaps)} ${source.gaps === 1 ? "gap" : "gaps"}` : "0";
  const { given_up: lost = 0 } = source.missing;
  const open = openOf(source);
  const rest = [...(open ? [`${compact(open)} open`] : []), ...(lost ? [`${compact(lost)} lost`] : [])];
  return [compact(found), ...(rest.length ? rest : ["all healed"])].join(", ");
}

/** Whether it is worth a look: `good` where all has come. */
export function missedTone(source: Told): "good" | "warn" | "faint" {
  if (!foundOf(source)) return source.gaps ? "warn" : "faint";
  return openOf(source) || source.missing.given_up ? "warn" : "good";
}
