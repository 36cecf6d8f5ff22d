/** Four short lists: who gains, who loses, what trades most, what swings most. */

import { el, say, set, svg } from "../base/dom.ts";
import { ARROW, compact, decimalsOf, direction, percent, price } from "../base/format.ts";
import type { Store } from "../live/store.ts";
import { symbolLink } from "./link.ts";
import { rank } from "./model.ts";
import type { Line, Ranking } from "./model.ts";
import { drawSpark } from "./spark.ts";

const LISTS: readonly { ranking: Ranking; name: string; title: string; none: string }[] = [
  { ranking: "gainers", name: "Gainers", title: "The largest rises, in percent", none: "Nothing is up." },
  { ranking: "losers", name: "Losers", title: "The largest falls, in percent", none: "Nothing is down." },
  { ranking: "active", name: "Most active", title: "The most money traded in the session so far", none: "Nothing has traded." },
  { ranking: "volatile", name: "Most volatile", title: "The usual move in an hour: the standard deviation of the newest 20 bars' returns, scaled by the root of time", none: "Too few bars yet." },
];
const ROWS_MAX = 12;
const SPARK = { width: 56, height: 18 };

interface Row {
  root: HTMLElement;
  link: HTMLAnchorElement;
  name: HTMLElement;
  spark: SVGPathElement;
  figure: HTMLElement;
  change: HTMLElement;
  symbol: string;
}

interface List {
  ranking: Ranking;
  rows: Row[];
  none: HTMLElement;
}

export class Movers {
  readonly root = el("div", { class: "movers" });
  readonly #lists: List[] = [];
  #count = 5;

  constructor(private readonly store: Store) {
    for (const { ranking, name, title, none } of LISTS) {
      const rows = Array.from({ length: ROWS_MAX }, () => makeRow());
      const nothing = el("p", { class: "movers-none", hidden: "" }, none);
      const id = `movers-${ranking}`;
      this.root.append(
        el("section", { class: "mover", "aria-labelledby": id }, el("h3", { id, title }, name), el("ol", {}, ...rows.map((row) => row.root)), nothing),
      );
      this.#lists.push({ ranking, rows, none: nothing });
    }
    new ResizeObserver(() => this.#fit()).observe(this.root);
  }

  /** Rank anew. */
  show(lines: readonly Line[]): void {
    for (const { ranking, rows, none } of this.#lists) {
      const found = rank(lines, ranking, this.#count);
      none.hidden = found.length > 0;
      rows.forEach((row, i) => {
        const line = found[i];
        row.root.hidden = !line;
        if (line) this.#write(row, line, ranking);
      });
    }
  }

  #write(row: Row, line: Line, ranking: Ranking): void {
    const { quote, traded } = line;
    const way = direction(line.percent);
    if (row.symbol !== quote.symbol) {
      row.symbol = quote.symbol;
      set(row.link, "href", symbolLink(quote.symbol));
      say(row.name, quote.symbol);
    }
    const spark = this.store.sparks.get(quote.symbol);
    drawSpark(row.spark, spark, SPARK);
    say(row.figure, ranking === "active" ? compact(traded?.value) : ranking === "volatile" ? `±${traded?.volatility?.toFixed(2)}%/h` : price(quote.last, decimalsOf([quote.last, quote.reference])));
    set(row.change, "class", `mover-change ${way}`);
    say(row.change, line.percent === null ? "–" : `${ARROW[way]} ${percent(line.percent)}`);
  }

  /** As many rows as there is room for. */
  #fit(): void {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const beside = getComputedStyle(this.root).gridTemplateRows.split(" ").length;
    const free = getComputedStyle(this.root).getPropertyValue("--fit").trim() === "height";
    const one = this.root.clientHeight / beside;
    this.#count = free ? Math.max(3, Math.min(ROWS_MAX, Math.floor((one - 2.875 * rem) / (1.6875 * rem)))) : 5;
  }
}

function makeRow(): Row {
  const spark = svg("path");
  const [name, figure, change] = [el("b"), el("span", { class: "mover-figure" }), el("span", { class: "mover-change" })];
  const drawing = svg("svg", { viewBox: `0 -1 ${SPARK.width} ${SPARK.height + 2}`, preserveAspectRatio: "none", "aria-hidden": "true" }, spark);
  const link = el("a", {}, name, drawing, figure, change);
  return { root: el("li", { hidden: "" }, link), link, name, spark, figure, change, symbol: "" };
}
