/** The table of all symbols. Only the rows in view exist, and only what changed in them is written. */

import { el, say, set, svg } from "../base/dom.ts";
import { ARROW, asOf, clock, compact, decimalsOf, direction, percent, price } from "../base/format.ts";
import type { Store } from "../live/store.ts";
import { symbolLink } from "./link.ts";
import type { Column, Line } from "./model.ts";
import { drawSpark } from "./spark.ts";

interface Head {
  column: Column | null;
  name: string;
  title: string;
  /** Share of the width that is left, and the least, in rem. */
  width: number;
}

const HEADS: readonly Head[] = [
  { column: "symbol", name: "Symbol", title: "The symbol", width: 8.5 },
  { column: null, name: "Trend", title: "The newest closes", width: 5.5 },
  { column: "last", name: "Last", title: "The last price", width: 5.5 },
  { column: "change", name: "Change", title: "Against the close of the session before, or where none is known the open", width: 5.75 },
  { column: "value", name: "Traded value", title: "Sum of price × size in the session so far", width: 6.25 },
  { column: "volume", name: "Volume", title: "Sum of sizes in the session so far", width: 5.25 },
  { column: "trades", name: "Trades", title: "Number of trades in the session so far", width: 4.5 },
  { column: "volatility", name: "Volatility", title: "The usual move in an hour: the standard deviation of the newest 20 bars' returns, scaled by the root of time", width: 5.75 },
  { column: "range", name: "Session range", title: "From the session's low to its high, and where the last price stands; sorted by its width in percent", width: 11 },
  { column: "time", name: "Time", title: "When the last price was made, UTC", width: 5.5 },
];
const ROW_REM = 1.75;
const BEYOND = 4; // rows kept above and below those in view
const SPARK = { width: 72, height: 18 };

interface Row {
  root: HTMLTableRowElement;
  link: HTMLAnchorElement;
  badge: HTMLElement;
  spark: SVGPathElement;
  sparkOf: unknown;
  cells: Record<Column, HTMLElement>;
  low: HTMLElement;
  track: HTMLElement;
  high: HTMLElement;
  at: number;
}

export class SymbolTable {
  readonly root = el("div", { class: "all-scroll", role: "region", "aria-label": "All symbols", tabindex: "-1" });
  readonly #table = el("table", { class: "all-table", "aria-label": "All symbols" });
  readonly #body = el("tbody");
  readonly #above = el("tr", { "aria-hidden": "true" }, el("td", { colspan: String(HEADS.length) }));
  readonly #below = el("tr", { "aria-hidden": "true" }, el("td", { colspan: String(HEADS.length) }));
  readonly #rows: Row[] = [];
  readonly #none = el("p", { class: "all-none", hidden: "" });
  readonly #heads = new Map<Column, HTMLElement>();
  #lines: Line[] = [];
  #place = "";

  constructor(
    private readonly store: Store,
    onSort: (column: Column) => void,
    private readonly onOpen: (symbol: string) => void,
  ) {
    const cells = HEADS.map(({ column, name, title }) => {
      if (!column) return el("th", { scope: "col", title }, name);
      const button = el("button", { type: "button", title }, name, el("i", { "aria-hidden": "true" }));
      button.addEventListener("click", () => onSort(column));
      const head = el("th", { scope: "col", "aria-sort": "none", class: column === "symbol" ? "left" : "right" }, button);
      this.#heads.set(column, head);
      return head;
    });
    const cols = HEADS.map(({ width }) => {
      const col = el("col");
      col.style.setProperty("width", `${width}rem`);
      return col;
    });
    this.#body.append(this.#above, this.#below);
    this.#table.append(el("colgroup", {}, ...cols), el("thead", {}, el("tr", {}, ...cells)), this.#body);
    this.root.append(this.#table, this.#none);
    this.root.addEventListener("scroll", () => this.draw(), { passive: true });
    this.root.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.draw()).observe(this.root);
  }

  /** Whether a person points at a row or reads it with the keyboard: the order then stays. */
  get held(): boolean {
    return this.#body.matches(":hover") || this.#body.contains(document.activeElement);
  }

  /** These symbols in this order. */
  show(lines: Line[], sort: Column, down: boolean, none: string): void {
    this.#lines = lines;
    set(this.#table, "aria-rowcount", String(lines.length + 1));
    for (const [column, head] of this.#heads) set(head, "aria-sort", column === sort ? (down ? "descending" : "ascending") : "none");
    this.#none.hidden = lines.length > 0;
    say(this.#none, none);
    this.draw();
  }

  toTop(): void {
    this.root.scrollTo(0, 0);
  }

  /** What is in view, as it is now. */
  draw(): void {
    const height = this.root.clientHeight;
    if (height === 0) return;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const rowPx = ROW_REM * rem;
    const first = Math.max(0, Math.floor(this.root.scrollTop / rowPx) - BEYOND);
    const count = Math.max(0, Math.min(this.#lines.length - first, Math.ceil(height / rowPx) + 2 * BEYOND));
    while (this.#rows.length < count) {
      const row = this.#make();
      this.#rows.push(row);
      this.#below.before(row.root);
    }
    const place = `${first} ${this.#lines.length} ${count} ${rowPx}`;
    if (place !== this.#place) {
      this.#place = place;
      this.#above.style.setProperty("height", `${first * rowPx}px`);
      this.#below.style.setProperty("height", `${Math.max(0, this.#lines.length - first - count) * rowPx}px`);
      this.#rows.forEach((row, i) => (row.root.hidden = i >= count));
    }
    for (let i = 0; i < count; i++) this.#write(this.#rows[i]!, first + i);
  }

  #make(): Row {
    const [link, badge, spark] = [el("a"), el("small"), svg("path")];
    const [low, track, high] = [el("span"), el("i"), el("span")];
    const drawing = svg("svg", { viewBox: `0 -1 ${SPARK.width} ${SPARK.height + 2}`, preserveAspectRatio: "none", "aria-hidden": "true" }, spark);
    const cells = {} as Record<Column, HTMLElement>;
    const nodes = HEADS.map(({ column }) => {
      if (column === "symbol") return (cells.symbol = el("th", { scope: "row" }, link, " ", badge));
      if (column === null) return el("td", { class: "all-spark" }, drawing);
      if (column === "range") return (cells.range = el("td", { class: "all-range" }, el("span", { class: "all-track" }, low, el("span", { class: "all-line" }, track), high)));
      return (cells[column] = el("td"));
    });
    const root = el("tr", {}, ...nodes);
    const row: Row = { root, link, badge, spark, sparkOf: null, cells, low, track, high, at: -1 };
    root.addEventListener("click", (event) => {
      const line = this.#lines[row.at];
      if (line && !(event.target as Element).closest("a") && !getSelection()?.toString()) this.onOpen(line.quote.symbol);
    });
    return row;
  }

  #write(row: Row, at: number): void {
    const line = this.#lines[at]!;
    const symbol = line.quote.symbol;
    const quote = this.store.quotes.get(symbol) ?? line.quote;
    const { traded } = line;
    row.at = at;
    const decimals = decimalsOf([quote.last, quote.reference]);
    const way = direction(line.percent);
    set(row.root, "aria-rowindex", String(at + 2));
    say(row.link, symbol);
    set(row.link, "href", symbolLink(symbol));
    say(row.badge, quote.simulated ? "Simulated" : (quote.venue ?? ""));
    const spark = this.store.sparks.get(symbol);
    if (row.sparkOf !== spark) {
      row.sparkOf = spark;
      drawSpark(row.spark, spark, SPARK);
    }
    const { cells } = row;
    say(cells.last, price(quote.last, decimals));
    say(cells.change, line.percent === null ? "–" : `${ARROW[way]} ${percent(line.percent)}`);
    set(cells.change, "class", way);
    say(cells.value, compact(traded?.value));
    say(cells.volume, compact(traded?.volume));
    say(cells.trades, compact(traded?.trades));
    say(cells.volatility, traded?.volatility == null ? "–" : `±${traded.volatility.toFixed(2)}%/h`);
    say(cells.time, quote.lastTimeMs > 0 ? asOf(quote.lastTimeMs, Date.now()) || clock(quote.lastTimeMs) : "–");
    this.#writeRange(row, line, quote.last, decimals);
  }

  #writeRange(row: Row, { traded }: Line, last: number | null, decimals: number): void {
    say(row.low, traded ? price(traded.low, decimals) : "");
    say(row.high, traded ? price(traded.high, decimals) : "");
    const span = traded ? traded.high - traded.low : 0;
    row.track.hidden = !traded || last === null || span <= 0;
    if (traded && last !== null && span > 0) {
      const share = Math.round(100 * Math.max(0, Math.min(1, (last - traded.low) / span)));
      row.track.style.setProperty("left", `${share}%`);
    }
  }

  #key(event: KeyboardEvent): void {
    const steps: Record<string, number> = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9 };
    const step = steps[event.key];
    const row = this.#rows.find(({ link }) => link === document.activeElement);
    if (step === undefined || event.ctrlKey || event.metaKey || event.altKey || !row) return;
    event.preventDefault();
    const to = Math.max(0, Math.min(this.#lines.length - 1, row.at + step));
    const rowPx = row.root.offsetHeight;
    const head = this.#table.tHead?.offsetHeight ?? 0;
    const { scrollTop, clientHeight } = this.root;
    if (to * rowPx < scrollTop) this.root.scrollTop = to * rowPx;
    else if ((to + 1) * rowPx + head > scrollTop + clientHeight) this.root.scrollTop = (to + 1) * rowPx + head - clientHeight;
    this.draw();
    this.#rows.find(({ root, at }) => at === to && !root.hidden)?.link.focus({ preventScroll: true });
  }
}
