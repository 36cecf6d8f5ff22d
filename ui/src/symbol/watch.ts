/** The watch list. Only the rows in view exist, so thousands of symbols cost as much as twenty. */

import { byId, el, remember, remembered, say, set, svg } from "../base/dom.ts";
import { ARROW, asOf, decimalsOf, direction, percent, price } from "../base/format.ts";
import { linePath } from "../base/path.ts";
import { changeOf } from "../live/store.ts";
import type { Quote, Store } from "../live/store.ts";

type Order = "name" | "change";
const ORDER_WORDS: Record<Order, string> = { name: "A–Z", change: "By change" };
const SPARK = { width: 68, height: 26 };

interface RowView {
  root: HTMLElement;
  symbol: HTMLElement;
  under: HTMLElement;
  spark: SVGPathElement;
  last: HTMLElement;
  change: HTMLElement;
  shows: string;
  lastPrice: number | null;
  sparkOf: unknown;
}

export class WatchList {
  readonly #list = byId("watch-list");
  readonly #space = el("div", { class: "watch-space", role: "presentation" });
  readonly #none = el("p", { class: "watch-none", hidden: "" });
  readonly #search = byId("search") as HTMLInputElement;
  readonly #sort = byId("sort");
  readonly #views: RowView[] = [];
  #shown: string[] = [];
  #chosen: string | null = null;
  #order: Order = remembered("order") === "change" ? "change" : "name";
  #sortedAt = 0;

  constructor(
    private readonly store: Store,
    private readonly onChoose: (symbol: string) => void,
  ) {
    this.#list.append(this.#space, this.#none);
    this.#list.addEventListener("scroll", () => this.#layOut(), { passive: true });
    new ResizeObserver(() => this.#layOut()).observe(this.#list);
    this.#search.addEventListener("input", () => this.refresh(true));
    this.#search.addEventListener("keydown", (event) => this.#searchKey(event));
    this.#sort.addEventListener("click", () => {
      this.#order = this.#order === "name" ? "change" : "name";
      remember("order", this.#order);
      this.refresh(true);
      this.#reveal();
    });
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  choose(symbol: string): void {
    if (this.#chosen === symbol) return;
    this.#chosen = symbol;
    this.#reveal();
    this.#layOut();
  }

  /** Order and filter anew (`again`), and draw what is in view. */
  refresh(again: boolean): void {
    const now = performance.now();
    if (again || (this.#order === "change" && now - this.#sortedAt > 2_000)) {
      this.#sortedAt = now;
      this.#arrange();
    }
    this.#layOut();
  }

  #arrange(): void {
    const wanted = this.#search.value.trim().toUpperCase();
    const quotes = [...this.store.quotes.values()].filter((q) => q.symbol.toUpperCase().includes(wanted));
    const starts = (q: Quote): number => (wanted && q.symbol.toUpperCase().startsWith(wanted) ? 0 : 1);
    const moved = (q: Quote): number => changeOf(q)?.percent ?? -Infinity;
    quotes.sort(
      (a, b) =>
        starts(a) - starts(b) ||
        (this.#order === "change" ? moved(b) - moved(a) : 0) ||
        (a.symbol < b.symbol ? -1 : 1),
    );
    this.#shown = quotes.map((q) => q.symbol);
    const all = this.store.quotes.size;
    say(byId("watch-count"), wanted ? `${this.#shown.length} of ${all}` : all === 1 ? "1 symbol" : `${all} symbols`);
    say(this.#sort, ORDER_WORDS[this.#order]);
    set(this.#sort, "aria-label", `Order: ${ORDER_WORDS[this.#order]}. Change`);
    this.#none.hidden = this.#shown.length > 0;
    say(this.#none, wanted ? `No symbol contains “${this.#search.value.trim()}”.` : "No symbols yet.");
  }

  #rowHeight(): number {
    return 3.5 * parseFloat(getComputedStyle(document.documentElement).fontSize);
  }

  #layOut(): void {
    const height = this.#rowHeight();
    this.#space.style.height = `${this.#shown.length * height}px`;
    const first = Math.max(0, Math.floor(this.#list.scrollTop / height) - 1);
    const count = Math.min(this.#shown.length - first, Math.ceil(this.#list.clientHeight / height) + 2);
    while (this.#views.length < count) this.#views.push(this.#makeRow());
    this.#views.forEach((view, i) => {
      view.root.hidden = i >= count;
      if (i < count) this.#draw(view, first + i, height);
    });
    const at = this.#chosen === null ? -1 : this.#shown.indexOf(this.#chosen);
    if (at >= first && at < first + count) set(this.#list, "aria-activedescendant", this.#views[at - first]!.root.id);
    else this.#list.removeAttribute("aria-activedescendant");
  }

  #makeRow(): RowView {
    const spark = svg("path");
    const parts = {
      symbol: el("span", { class: "watch-symbol" }),
      under: el("span", { class: "watch-under" }),
      last: el("span", { class: "watch-last" }),
      change: el("span", { class: "watch-change" }),
    };
    const drawing = svg("svg", { class: "watch-spark", viewBox: `0 0 ${SPARK.width} ${SPARK.height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, spark);
    const root = el("div", { class: "watch-row", role: "option", id: `row-${this.#views.length}` });
    root.append(parts.symbol, parts.under, drawing, parts.last, parts.change);
    const view: RowView = { root, ...parts, spark, shows: "", lastPrice: null, sparkOf: null };
    root.addEventListener("click", () => this.onChoose(view.shows));
    this.#space.append(root);
    return view;
  }

  #draw(view: RowView, at: number, height: number): void {
    const symbol = this.#shown[at]!;
    const quote = this.store.quotes.get(symbol);
    if (!quote) return;
    const other = view.shows !== symbol;
    view.shows = symbol;
    view.root.style.transform = `translateY(${at * height}px)`;
    set(view.root, "aria-selected", String(symbol === this.#chosen));
    set(view.root, "aria-posinset", String(at + 1));
    set(view.root, "aria-setsize", String(this.#shown.length));
    const spark = this.store.sparks.get(symbol);
    const decimals = decimalsOf([...(spark?.closes.slice(-10) ?? []), quote.last]);
    const change = changeOf(quote);
    const way = direction(change?.percent);
    if (other) {
      say(view.symbol, symbol);
      set(view.symbol, "title", symbol);
    }
    say(view.last, price(quote.last, decimals));
    if (!other && quote.last !== null && view.lastPrice !== null && quote.last !== view.lastPrice) {
      flash(view.last, quote.last > view.lastPrice ? "tick-up" : "tick-down");
    } else if (other) view.last.className = "watch-last";
    view.lastPrice = quote.last;
    set(view.change, "class", `watch-change ${way}`);
    say(view.change, change ? `${ARROW[way]} ${percent(change.percent)}` : "–");
    say(view.under, quote.simulated ? "Simulated" : asOf(quote.lastTimeMs, Date.now()) || (quote.venue ?? ""));
    if (other || view.sparkOf !== spark) {
      view.sparkOf = spark;
      set(view.spark, "d", spark ? linePath(spark.closes, SPARK.width, SPARK.height) : "");
    }
    const ends = spark && spark.closes.length > 1 ? spark.closes.at(-1)! - spark.closes[0]! : 0;
    set(view.spark, "class", ends > 0 ? "up" : ends < 0 ? "down" : "flat");
    const words = [symbol, view.under.textContent, view.last.textContent, view.change.textContent];
    set(view.root, "aria-label", words.filter(Boolean).join(", ")); // what stands there, in its order
  }

  #reveal(): void {
    const at = this.#chosen === null ? -1 : this.#shown.indexOf(this.#chosen);
    if (at < 0) return;
    const height = this.#rowHeight();
    const { scrollTop, clientHeight } = this.#list;
    if (at * height < scrollTop) this.#list.scrollTop = at * height;
    else if ((at + 1) * height > scrollTop + clientHeight) this.#list.scrollTop = (at + 1) * height - clientHeight;
  }

  #step(by: number): void {
    if (!this.#shown.length) return;
    const at = this.#chosen === null ? -1 : this.#shown.indexOf(this.#chosen);
    const next = at < 0 ? 0 : Math.min(this.#shown.length - 1, Math.max(0, at + by));
    this.onChoose(this.#shown[next]!);
  }

  #key(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, dialog") || byId("view-symbol").hidden) return;
    const steps: Record<string, number> = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9 };
    if (event.key in steps && !target.closest("[role=radiogroup]")) this.#step(steps[event.key]!);
    else return;
    event.preventDefault();
  }

  #searchKey(event: KeyboardEvent): void {
    if (event.key === "Escape") {
      if (this.#search.value) {
        this.#search.value = "";
        this.refresh(true);
      } else this.#list.focus();
    } else if (event.key === "Enter" && this.#shown[0]) {
      this.onChoose(this.#shown[0]);
      this.#search.value = "";
      this.refresh(true);
      this.#reveal();
      this.#list.focus();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.#step(event.key === "ArrowDown" ? 1 : -1);
    } else return;
    event.preventDefault();
  }
}

function flash(node: HTMLElement, how: string): void {
  node.classList.remove("tick-up", "tick-down");
  void node.offsetWidth; // starts the animation anew
  node.classList.add(how);
}
