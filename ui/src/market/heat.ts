/** The heat map: colours on one canvas; only tiles that are large enough for words, or that are pointed at, are elements. */

import { el, say, set } from "../base/dom.ts";
import { ARROW, compact, decimalsOf, direction, percent, price } from "../base/format.ts";
import type { Palette } from "../base/palette.ts";
import { STEPS, ramp, scaleOf, stepOf } from "./colors.ts";
import { symbolLink } from "./link.ts";
import type { Size } from "./link.ts";
import type { Line } from "./model.ts";
import { neighbour, squarify, tileAt } from "./treemap.ts";
import type { Tile } from "./treemap.ts";

const ARRANGE_MS = 4_000; // tiles move at most this often, unless symbols came or went
const LABELS_AT_ONCE = 40; // words written in one animation frame
const SPREAD_MAX = 150; // largest to middle value; beyond it the small ones could not be seen
const FLOOR = 1 / 2_500; // of the map: no tile is smaller

/** In multiples of the page's type size: from which size on a tile has words of which kind. */
const KINDS = [
  { kind: "large", width: 8.5, height: 5 },
  { kind: "middle", width: 5, height: 3 },
  { kind: "small", width: 2.6, height: 1.9 },
] as const;

interface Shown {
  symbol: string;
  tile: Tile;
  kind: (typeof KINDS)[number]["kind"] | null;
  step: number;
}

interface Label {
  link: HTMLAnchorElement;
  name: HTMLElement;
  change: HTMLElement;
}

export class HeatMap {
  readonly #canvas = el("canvas", { "aria-hidden": "true" });
  readonly #links = el("div", { class: "heat-links", role: "group", "aria-label": "Symbols by traded value" });
  readonly #tip = el("div", { class: "heat-tip", hidden: "" });
  readonly #labels = new Map<string, Label>();
  #shown: Shown[] = [];
  #at = new Map<string, number>();
  #lines = new Map<string, Line>();
  #waiting = new Set<number>();
  #current: string | null = null;
  #tipped: string | null = null;
  #colors: string[];
  #scale = 1;
  #size: Size = "auto";
  #rooted = false;
  #arrangedAt = -Infinity;
  #width = 0;
  #height = 0;

  constructor(
    private readonly root: HTMLElement,
    private readonly legend: HTMLElement,
    palette: Palette,
    private readonly onOpen: (symbol: string) => void,
  ) {
    this.#colors = ramp(palette);
    root.append(this.#canvas, this.#links, this.#tip);
    new ResizeObserver(() => this.#arrange()).observe(root);
    root.addEventListener("keydown", (event) => this.#key(event));
    root.addEventListener("pointermove", (event) => this.#point(event));
    root.addEventListener("click", (event) => this.#click(event));
    root.addEventListener("pointerleave", () => this.#leave());
    root.addEventListener("focusin", (event) => this.#focused(event.target as Element));
    root.addEventListener("focusout", () => this.#leave());
  }

  restyle(palette: Palette): void {
    this.#colors = ramp(palette);
    this.#paint();
    this.#showLegend();
  }

  /** All symbols anew, about once a second. */
  show(lines: readonly Line[], size: Size): void {
    const before = this.#lines;
    this.#lines = new Map(lines.map((line) => [line.quote.symbol, line]));
    const others = before.size !== this.#lines.size || lines.some(({ quote }) => !before.has(quote.symbol));
    const now = performance.now();
    if (others || size !== this.#size || now - this.#arrangedAt >= ARRANGE_MS) {
      this.#size = size;
      this.#arrange();
    } else this.refresh(lines);
  }

  /** The areas are known anew, all of them: do not wait until tiles may move. */
  remeasure(): void {
    this.#arrangedAt = -Infinity;
  }

  /** New prices: what they change is drawn, words a few at a time. */
  refresh(lines: Iterable<Line>): void {
    for (const line of lines) {
      const at = this.#at.get(line.quote.symbol);
      if (at === undefined) continue;
      this.#lines.set(line.quote.symbol, line);
      this.#waiting.add(at);
    }
    this.#write();
  }

  #arrange(): void {
    this.#width = this.root.clientWidth;
    this.#height = this.root.clientHeight;
    if (this.#width === 0 || this.#height === 0) return;
    this.#arrangedAt = performance.now();
    const weighed = this.#weigh();
    const tiles = squarify(weighed.map(([, weight]) => weight), this.#width, this.#height);
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.#shown = weighed.map(([symbol], i) => {
      const tile = tiles[i]!;
      const kind = KINDS.find((k) => tile.width >= k.width * rem && tile.height >= k.height * rem && (k.kind !== "small" || symbol.length * 0.44 * rem < tile.width));
      return { symbol, tile, kind: kind?.kind ?? null, step: 0 };
    });
    this.#at = new Map(this.#shown.map(({ symbol }, i) => [symbol, i]));
    this.#scale = scaleOf([...this.#lines.values()].map((line) => line.percent));
    this.#placeLabels();
    this.#paint();
    this.#showLegend();
  }

  /** Symbols with the areas of their tiles, the largest first. */
  #weigh(): [string, number][] {
    const lines = [...this.#lines.values()];
    const values = lines.map(({ traded }) => traded?.value ?? 0);
    const known = values.filter((value) => value > 0).sort((a, b) => b - a);
    this.#rooted = this.#size === "root" || (this.#size === "auto" && known.length > 1 && known[0]! > SPREAD_MAX * known[Math.floor(known.length / 2)]!);
    const weights = values.map((value) => (this.#size === "equal" ? 1 : this.#rooted ? Math.sqrt(value) : value));
    const least = weights.reduce((sum, w) => sum + w, 0) * FLOOR || 1;
    return lines
      .map(({ quote }, i): [string, number] => [quote.symbol, Math.max(weights[i]!, least)])
      .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  }

  #placeLabels(): void {
    const focused = this.root.contains(document.activeElement);
    for (const [symbol, label] of this.#labels) {
      const at = this.#at.get(symbol);
      if (at !== undefined && (this.#shown[at]!.kind || symbol === this.#current)) continue;
      label.link.remove();
      this.#labels.delete(symbol);
    }
    this.#shown.forEach(({ symbol, kind }, i) => {
      if (kind || (symbol === this.#current && focused)) this.#place(i);
    });
    if (this.#current === null || !this.#at.has(this.#current)) this.#choose(this.#shown[0]?.symbol ?? null);
  }

  #place(at: number): Label {
    const { symbol, tile, kind } = this.#shown[at]!;
    let label = this.#labels.get(symbol);
    if (!label) {
      const [name, change] = [el("b", {}, symbol), el("span")];
      const link = el("a", { href: symbolLink(symbol), tabindex: symbol === this.#current ? "0" : "-1", "data-symbol": symbol }, name, change);
      label = { link, name, change };
      this.#labels.set(symbol, label);
      this.#links.append(link);
    }
    set(label.link, "class", `tile ${kind ?? "bare"}`);
    const { style } = label.link;
    style.setProperty("transform", `translate(${tile.x.toFixed(1)}px, ${tile.y.toFixed(1)}px)`);
    style.setProperty("width", `${Math.max(0, tile.width - 1).toFixed(1)}px`);
    style.setProperty("height", `${Math.max(0, tile.height - 1).toFixed(1)}px`);
    this.#say(label, symbol);
    return label;
  }

  #say(label: Label, symbol: string): void {
    const line = this.#lines.get(symbol);
    const text = line?.percent == null ? "–" : percent(line.percent);
    if (label.change.textContent === text && label.link.hasAttribute("aria-label")) return;
    say(label.change, text);
    set(label.link, "aria-label", `${symbol} ${text}`);
  }

  /** Every tile. */
  #paint(): void {
    const scale = Math.min(2, window.devicePixelRatio || 1);
    this.#canvas.width = Math.round(this.#width * scale);
    this.#canvas.height = Math.round(this.#height * scale);
    this.#shown.forEach((_, i) => this.#fill(i, true));
    this.#waiting = new Set(this.#shown.keys());
    this.#write();
  }

  #fill(at: number, always: boolean): void {
    const shown = this.#shown[at]!;
    const step = stepOf(this.#lines.get(shown.symbol)?.percent ?? null, this.#scale);
    if (step === shown.step && !always) return;
    shown.step = step;
    const context = this.#canvas.getContext("2d");
    if (!context) return;
    const ratio = this.#width ? this.#canvas.width / this.#width : 1;
    const [left, top] = [Math.round(shown.tile.x * ratio), Math.round(shown.tile.y * ratio)];
    const right = Math.round((shown.tile.x + shown.tile.width) * ratio);
    const bottom = Math.round((shown.tile.y + shown.tile.height) * ratio);
    const gap = right - left > 3 && bottom - top > 3 ? Math.max(1, Math.round(ratio)) : 0;
    context.fillStyle = this.#colors[step + STEPS]!;
    context.fillRect(left, top, right - left - gap, bottom - top - gap);
  }

  #write(): void {
    let left = LABELS_AT_ONCE;
    for (const at of this.#waiting) {
      this.#waiting.delete(at);
      const shown = this.#shown[at];
      if (!shown) continue;
      this.#fill(at, false);
      const label = this.#labels.get(shown.symbol);
      if (label) {
        this.#say(label, shown.symbol);
        left -= 1;
      }
      if (left === 0) break;
    }
    if (this.#tipped) this.#showTip(this.#tipped);
  }

  #showLegend(): void {
    const end = this.#scale;
    const steps = this.#colors.map((color) => {
      const swatch = el("i");
      swatch.style.setProperty("background", color);
      return swatch;
    });
    const words = this.#size === "equal" ? "Tiles of one size" : `Tile size: traded value${this.#rooted ? ", root scale" : ""}`;
    this.legend.replaceChildren(
      el("span", {}, words),
      el("span", { class: "heat-ramp" }, el("span", {}, `−${end}%`), el("span", { class: "heat-steps", "aria-hidden": "true" }, ...steps), el("span", {}, `+${end}%`)),
    );
  }

  // Pointing

  #choose(symbol: string | null): void {
    if (this.#current !== null) {
      const before = this.#labels.get(this.#current);
      if (before) set(before.link, "tabindex", "-1");
    }
    this.#current = symbol;
    const at = symbol === null ? undefined : this.#at.get(symbol);
    if (at !== undefined) set(this.#place(at).link, "tabindex", "0");
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || this.#current === null) return;
    if (event.key === "Escape") return this.#leave();
    const from = this.#at.get(this.#current) ?? 0;
    const tiles = this.#shown.map(({ tile }) => tile);
    const to = event.key === "Home" ? 0 : event.key === "End" ? tiles.length - 1 : neighbour(tiles, from, event.key);
    if (event.key.startsWith("Arrow")) event.preventDefault();
    if (to < 0 || to === from) return;
    event.preventDefault();
    const symbol = this.#shown[to]!.symbol;
    this.#choose(symbol);
    this.#labels.get(symbol)?.link.focus({ preventScroll: true });
    this.#sweep();
  }

  #focused(target: Element): void {
    const symbol = target.getAttribute("data-symbol");
    if (symbol === null) return;
    if (symbol !== this.#current) this.#choose(symbol);
    this.#showTip(symbol);
  }

  #under(event: MouseEvent): number {
    const box = this.root.getBoundingClientRect();
    return tileAt(this.#shown.map(({ tile }) => tile), event.clientX - box.left, event.clientY - box.top);
  }

  /** A tile without words is no element where nobody pointed at it before: on a touch screen. */
  #click(event: MouseEvent): void {
    const shown = this.#shown[this.#under(event)];
    if (shown && !(event.target as Element).closest("a")) this.onOpen(shown.symbol);
  }

  #point(event: PointerEvent): void {
    if (event.pointerType === "touch") return;
    const at = this.#under(event);
    const shown = this.#shown[at];
    if (!shown || shown.symbol === this.#tipped) return;
    if (!shown.kind) this.#place(at);
    this.#showTip(shown.symbol);
    this.#sweep();
  }

  #leave(): void {
    this.#tipped = null;
    this.#tip.hidden = true;
    this.#sweep();
  }

  /** Take away the elements of small tiles that nobody points at any more. */
  #sweep(): void {
    for (const [symbol, { link }] of this.#labels) {
      if (!link.classList.contains("bare") || symbol === this.#current || symbol === this.#tipped) continue;
      link.remove();
      this.#labels.delete(symbol);
    }
  }

  #showTip(symbol: string): void {
    const at = this.#at.get(symbol);
    const line = this.#lines.get(symbol);
    if (at === undefined || !line) return;
    const { quote, traded } = line;
    const way = direction(line.percent);
    const decimals = decimalsOf([quote.last, traded?.open ?? null]);
    const rows: [string, string][] = traded
      ? [["Traded", compact(traded.value)], ["Volume", compact(traded.volume)], ["Range", `${price(traded.low, decimals)} – ${price(traded.high, decimals)}`]]
      : [];
    if (this.#tipped !== symbol || this.#tip.hidden) {
      this.#tip.replaceChildren(
        el("strong", {}, symbol), el("span", { class: "heat-tip-last" }), el("span", { class: "heat-tip-change" }),
        el("dl", {}, ...rows.map(([name]) => el("div", {}, el("dt", {}, name), el("dd")))),
      );
      this.#tipped = symbol;
      this.#tip.hidden = false;
      this.#placeTip(this.#shown[at]!.tile);
    }
    const [, last, change, list] = this.#tip.children;
    say(last!, price(quote.last, decimals));
    say(change!, line.percent === null ? "" : `${ARROW[way]} ${percent(line.percent)}`);
    set(change!, "class", `heat-tip-change ${way}`);
    rows.forEach(([, text], i) => {
      const cell = list!.children[i]?.lastElementChild;
      if (cell) say(cell, text);
    });
  }

  #placeTip(tile: Tile): void {
    const { offsetWidth: width, offsetHeight: height } = this.#tip;
    const right = tile.x + tile.width + 6;
    const left = right + width <= this.#width ? right : tile.x - width - 6;
    const x = left >= 0 ? left : Math.max(0, Math.min(this.#width - width, tile.x + (tile.width - width) / 2));
    const beside = left >= 0 ? tile.y + Math.min(12, tile.height / 2) : tile.y + tile.height + 6;
    const y = Math.max(0, Math.min(this.#height - height, beside));
    this.#tip.style.setProperty("transform", `translate(${x.toFixed(0)}px, ${y.toFixed(0)}px)`);
  }
}
