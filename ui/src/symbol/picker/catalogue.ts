/** The indicator catalogue of the server, and a form's numbers against it. Pure. */

export interface Parameter {
  name: string;
  kind: "int" | "float";
  default: number;
  minimum: number;
  maximum: number;
}

export interface Entry {
  name: string;
  title: string;
  group: string;
  parameters: Parameter[];
  columns: string[];
  warm_up: number;
  pane: "price" | "volume" | "own";
  formula: string;
  source: string;
  stem: string;
  /** Why the page cannot compute it; null: it can. */
  needs_the_engine: string | null;
}

/** What is wrong with what was typed for a parameter, in words; null: nothing. */
export function fault({ kind, minimum, maximum }: Parameter, typed: string): string | null {
  const text = typed.trim();
  const value = Number(text);
  if (!text || !Number.isFinite(value)) return "Write a number.";
  if (kind === "int" && !Number.isInteger(value)) return "Write a whole number.";
  if (value < minimum || value > maximum) return `From ${plain(minimum)} to ${plain(maximum)}.`;
  return null;
}

/** `bbands` with 20 and 2.5 -> `bbands_20_2p5`: as the server writes its columns. */
export function stemOf(entry: Entry, values: readonly number[]): string {
  return [entry.name, ...values.map((v) => plain(v).replace(".", "p").replace("-", "m"))].join("_");
}

/** No exponent, however small. */
export function plain(value: number): string {
  const text = String(value);
  return text.includes("e") ? value.toFixed(12).replace(/\.?0+$/, "") : text;
}

/** The entries that have every word of the search in name, title, group or formula; better places first. */
export function found(entries: readonly Entry[], search: string, group: string): Entry[] {
  const words = search.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const rank = (entry: Entry): number => {
    const [name, title] = [entry.name, entry.title.toLowerCase()];
    const text = `${name} ${title} ${entry.group} ${entry.formula.toLowerCase()}`;
    if (!words.every((word) => text.includes(word))) return -1;
    if (words.every((word) => name.startsWith(word))) return 0;
    return words.every((word) => `${name} ${title}`.includes(word)) ? 1 : 2;
  };
  return entries
    .filter((entry) => !group || entry.group === group)
    .map((entry) => ({ entry, at: rank(entry) }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => a.at - b.at || (a.entry.title < b.entry.title ? -1 : 1))
    .map(({ entry }) => entry);
}
