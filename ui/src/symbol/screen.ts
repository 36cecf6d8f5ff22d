/** The chart with all that belongs to it: rows, indicators, comparison, facts, receipt; and the choices of a person. */

import { byId, say, set } from "../base/dom.ts";
import { barTime, decimalsOf, percent, price, revisionText } from "../base/format.ts";
import { readPalette } from "../base/palette.ts";
import type { Palette } from "../base/palette.ts";
import { BAR_WIDTH, COL } from "../live/protocol.ts";
import type { Place, Row } from "../live/protocol.ts";
import type { Changes, Store } from "../live/store.ts";
import { Adjusting, multiplied, stepAt, tellAction } from "./adjusting.ts";
import type { Adjustment } from "./adjusting.ts";
import { Bars, placeOf } from "./bars.ts";
import { Chart } from "./chart.ts";
import { Choices } from "./choices.ts";
import { Computed } from "./computed.ts";
import { Facts } from "./facts.ts";
import { History } from "./history.ts";
import { groupsOf } from "./indicators.ts";
import type { Group } from "./indicators.ts";
import { chartKeys } from "./keys.ts";
import { Legends } from "./legend.ts";
import type { Choice } from "./link.ts";
import { inOrder } from "./older.ts";
import { Others } from "./others.ts";
import type { Picker } from "./picker/dialog.ts";
import type { ReceiptPanel } from "./receipt/panel.ts";
import { AdjustSwitch, CompareField, StyleSwitch, showChips } from "./tools.ts";
import { Values } from "./values.ts";

const NEAR_THE_BEGINNING = 60; // bars before the first in view, when older ones are asked for
const STYLE_WORDS = { candles: "Candle", line: "Line", heikin: "Heikin-Ashi" };

export class Screen {
  readonly #choices = new Choices();
  readonly #bars = new Bars();
  readonly #chart: Chart;
  readonly #legends: Legends;
  readonly #values = new Values((name) => this.#openReceipt(name));
  readonly #history = new History((rows, columns) => this.#takeOlder(rows, columns), () => this.#showHistory());
  readonly #computed = new Computed(() => this.#showWhole(), () => this.#chart.refreshValues(), (time) => this.#priceFactor(time));
  readonly #adjusting = new Adjusting(() => this.#showActions());
  readonly #others = new Others(() => this.#showOthers());
  readonly #facts: Facts;
  readonly #styles = new StyleSwitch((style) => this.#choose(() => this.#choices.setStyle(style)));
  readonly #adjustments = new AdjustSwitch((adjustment) => this.#adjust(adjustment));
  #palette: Palette = readPalette();
  #place: Place | null = null;
  #groups: Group[] = []; // what the engine computes
  #receipt: Choice["receipt"] = null;
  #panel: ReceiptPanel | null = null;
  #picker: Picker | null = null;
  #first = Infinity; // the place of the first bar in view
  decimals = 2;

  /** `onChoice`: the address is another one now. */
  constructor(
    private readonly store: Store,
    private readonly onChoice: () => void,
  ) {
    this.#facts = new Facts(store.alerts, () => this.#showFacts());
    this.#chart = new Chart(byId("chart"), this.#palette, {
      look: () => this.#look(),
      scroll: (atNewest, first) => {
        byId("to-now").hidden = atNewest;
        this.#first = first;
        this.#needOlder();
      },
      choose: (row) => this.#openReceipt(this.#receipt?.name ?? "bar", row),
    });
    this.#chart.comparison.onMoved = () => this.#chart.refill(this.#bars.rows);
    this.#legends = new Legends(this.#chart, (name) => this.#openReceipt(name));
    chartKeys(byId("chart"), this.#chart, () => !byId("view-symbol").hidden && this.isShown, () => {
      const row = this.#chart.looked;
      if (row) this.#openReceipt(this.#receipt?.name ?? "bar", row);
    }, () => this.#say());
    new CompareField(() => [...store.quotes.keys()], (symbol) => this.#choose(() => this.#choices.compare.push(symbol)));
    byId("to-now").addEventListener("click", () => this.#chart.toNow());
    byId("history-retry").addEventListener("click", () => this.#needOlder(true));
    byId("open-picker").addEventListener("click", () => void this.#openPicker());
  }

  /** Whether the store has the chart that is wanted. */
  get isShown(): boolean {
    const { chart } = this.store;
    return chart !== null && chart.symbol === this.#place?.symbol && chart.timeframe === this.#place.timeframe;
  }

  /** For the address. */
  get link(): Partial<Choice> {
    return { ...this.#choices.link, receipt: this.#receipt };
  }

  /** What an address says beside the place. */
  read(choice: Choice): void {
    const { adjust } = this.#choices;
    this.#choices.read(choice);
    this.#receipt = choice.receipt;
    if (adjust !== this.#choices.adjust) this.#reload();
  }

  see(place: Place): void {
    const same = place.symbol === this.#place?.symbol && place.timeframe === this.#place.timeframe;
    this.#place = place;
    this.#choices.compare = this.#choices.compare.filter((symbol) => symbol !== place.symbol);
    if (same) return;
    this.#history.begin(place);
    this.#bars.begin([]);
    this.#adjusting.begin(place);
    this.#showActions();
  }

  leave(): void {
    this.#panel?.close();
  }

  closeReceipt(): void {
    this.#receipt = null;
    this.#chart.mark(null);
    this.#panel?.close();
  }

  /** Draw all of it: it was away, or the address is another. */
  begin(): void {
    this.#groups = groupsOf(this.store.columns);
    this.#takeWhole();
  }

  draw(changes: Changes): void {
    if (changes.columns) this.#groups = groupsOf(this.store.columns);
    if (!this.isShown) return;
    if (changes.parts["alerts"] !== undefined) this.#showFacts();
    if (changes.chart === "whole" || changes.columns) this.#takeWhole();
    else if (changes.chart === "between") this.#takeBetween();
    else if (changes.rows.length) this.#takeRows(changes.rows);
    if (this.#others.take(this.store.quotes, changes.quotes, this.#bars.rows.at(-1))) this.#chart.refill(this.#bars.rows);
  }

  restyle(): void {
    this.#palette = readPalette();
    this.#chart.restyle(this.#palette);
    this.#legends.forget();
    if (this.isShown) this.#arrange();
  }

  // Rows

  #takeWhole(): void {
    if (!this.isShown) return;
    const fresh = this.#bars.rows.length === 0;
    const live = this.#shown(this.store.chart!.rows);
    if (fresh) this.#bars.begin(live);
    else this.#bars.again(live);
    this.#showWhole();
    this.#showHistory();
    this.#needOlder();
    if (this.#receipt) this.#showReceipt(true);
  }

  #takeBetween(): void {
    this.#bars.again(this.#shown(this.store.chart!.rows));
    this.#chart.refill(this.#bars.rows);
    this.#computed.changed(this.store.chart!.rows);
  }

  #takeRows(told: Row[]): void {
    const rows = this.#shown(told);
    const inOrder = this.#bars.change(rows);
    if (inOrder) this.#chart.update(rows);
    else this.#chart.refill(this.#bars.rows);
    this.#computed.changed(rows);
    this.#others.moved(this.#bars.rows.at(-1)!);
    if (this.#place) this.#facts.follow(this.#place, this.#bars.rows);
  }

  #takeOlder(page: Row[], columns: string[]): void {
    const before = this.#bars.rows[0]?.[0] ?? 0;
    const came = this.#bars.before(this.#shown(inOrder(page, columns, this.store.columns)));
    if (!came || !this.#place) return;
    this.#chart.prepend(this.#bars.rows);
    this.#name();
    this.#computed.older(this.#bars.rows, before);
    this.#others.load(this.#bars.rows);
    this.#facts.follow(this.#place, this.#bars.rows);
    if (this.#receipt) this.#showReceipt(false);
  }

  // Splits and dividends

  /** Rows as the chart shows them. */
  #shown(rows: readonly Row[]): Row[] {
    const steps = this.#adjusting.steps(this.#choices.adjust);
    if (!steps.length) return [...rows];
    const prices = this.#groups.filter((group) => group.place === "price");
    return multiplied(rows, steps, prices.flatMap((group) => group.lines.map((line) => line.column)));
  }

  #priceFactor(time: number): number {
    return stepAt(this.#adjusting.steps(this.#choices.adjust), time)?.price ?? 1;
  }

  #adjust(adjustment: Adjustment): void {
    this.#choices.adjust = adjustment;
    this.#reload();
    this.onChoice();
  }

  #showActions(): void {
    this.#adjustments.offer(this.#adjusting.actions);
    this.#chart.setActions(this.#adjusting.actions);
    if (this.#adjusting.actions.length && this.#choices.adjust !== "none") this.#reload();
  }

  /** All rows anew, since they are multiplied otherwise. */
  #reload(): void {
    if (!this.#place) return;
    this.#computed.forget();
    this.#history.begin(this.#place);
    this.#bars.begin([]);
    this.#takeWhole();
  }

  #needOlder(now = false): void {
    const first = this.#bars.rows[0]?.[0];
    if (!this.isShown || first === undefined || first === null || this.#first > NEAR_THE_BEGINNING) return;
    void this.#history.load(first, now);
  }

  #showHistory(): void {
    const { state, problem } = this.#history;
    const begins = this.#bars.rows[0]?.[0];
    const atBegin = state === "the end" && this.#first <= 1 && begins !== undefined && begins !== null && this.#place;
    set(byId("history"), "data-state", state);
    byId("history").hidden = state === "there is more" || (state === "the end" && !atBegin);
    byId("history-retry").hidden = state !== "failed";
    if (state === "loading") say(byId("history-text"), "Loading older bars");
    else if (state === "failed") say(byId("history-text"), problem);
    else if (atBegin) say(byId("history-text"), `All there is: history begins ${barTime(begins, atBegin.timeframe)}`);
  }

  // Drawing

  /** Draw the chart from its beginning: another symbol, timeframe, set of columns or of choices. */
  #showWhole(): void {
    const place = this.#place;
    if (!place || !this.isShown) return;
    const { rows } = this.#bars;
    this.decimals = decimalsOf(rows.slice(-80).map((row) => row[COL.close] ?? null));
    this.#computed.follow(place, this.#choices.toCompute(this.#groups), rows);
    this.#others.follow(place, this.#choices.compare, rows);
    this.#facts.follow(place, rows);
    this.#chart.comparison.others = this.#others.list;
    this.#chart.show({ place, style: this.#choices.style, groups: this.#shownGroups(), decimals: this.decimals, rows });
    this.#name();
    this.#arrange();
  }

  #name(): void {
    if (!this.#place) return;
    const { symbol, timeframe } = this.#place;
    set(byId("chart"), "aria-label", `${STYLE_WORDS[this.#choices.style]} chart of ${symbol}, ${timeframe} bars, ${this.#bars.rows.length} shown`);
  }

  #shownGroups(): Group[] {
    const engine = this.#groups.filter((group) => this.#choices.isOn(group));
    const rank = { price: 0, volume: 1, pane: 2 };
    const all = [...engine, ...this.#computed.groups].map((group) => this.#choices.colored(group));
    const order = { price: 0, volume: 0, pane: 0 };
    const placed = all.map((group) => (group.values ? { ...group, order: order[group.place]++ + 1 } : (order[group.place]++, group)));
    return placed.sort((a, b) => rank[a.place] - rank[b.place] || Number(b.band !== null) - Number(a.band !== null));
  }

  /** What stands around the chart: switches, values, legends. */
  #arrange(): void {
    const shown = this.#shownGroups();
    const colored = (group: Group): Group => shown.find((one) => one.id === group.id) ?? group;
    const computed = this.#computed.groups;
    this.#styles.show(this.#choices.style);
    this.#adjustments.show(this.#choices.adjust);
    showChips({
      engine: this.#groups,
      computed,
      awaited: this.#choices.toCompute(this.#groups).filter((stem) => !computed.some((group) => group.id === stem)),
      compared: this.#compared(),
      isOn: (group) => this.#choices.isOn(group),
      color: (group) => this.#chart.colorOf(colored(group), 0),
      toggle: (stem) => this.#choose(() => this.#choices.toggle(stem, this.#groups)),
      uncompare: (symbol) => this.#choose(() => (this.#choices.compare = this.#choices.compare.filter((one) => one !== symbol))),
    });
    this.#values.arrange([...computed.map(colored), ...this.#groups], this.#chart, this.store.columns);
    const problem = this.#computed.problem || this.#others.problem;
    byId("chart-note").hidden = !problem;
    say(byId("chart-note"), problem);
    this.#look();
  }

  #compared(): { symbol: string; color: string }[] {
    return this.#choices.compare.map((symbol, i) => ({ symbol, color: this.#chart.comparison.colorOf(i, this.#palette) }));
  }

  #look(): void {
    if (!this.#place || !this.isShown) return;
    this.#legends.show({ ...this.#place, decimals: this.decimals, columns: this.store.columns, compared: this.#chart.comparison.on ? this.#compared() : [] });
    this.#values.show(this.#chart, this.decimals);
    this.#title();
  }

  /** The chart's title is what was split or paid at the bar under the pointer. */
  #title(): void {
    const row = this.#chart.pointing ? this.#chart.looked : null;
    const words = row ? this.#chart.actionsAt(row).map(tellAction).join(", ") : "";
    if (words) set(byId("chart"), "title", words);
    else byId("chart").removeAttribute("title");
  }

  /** The bar looked at, for who hears the page. */
  #say(): void {
    const row = this.#chart.looked;
    if (!row || !this.#place || !this.#chart.pointing) return;
    const of = (column: number): string => price(row[column], this.decimals);
    const [open, close] = [row[COL.open] ?? 0, row[COL.close] ?? 0];
    const state = revisionText(row[COL.revision] ?? 0);
    say(byId("chart-said"), `${barTime(row[0] as number, this.#place.timeframe)}, open ${of(COL.open)}, high ${of(COL.high)}, low ${of(COL.low)}, close ${of(COL.close)}, ${percent(open ? (100 * (close - open)) / open : 0)}${state ? `, ${state}` : ""}${this.#chart.actionsAt(row).map((action) => `, ${tellAction(action)}`).join("")}`);
  }

  #showOthers(): void {
    this.#chart.comparison.others = this.#others.list;
    this.#chart.refill(this.#bars.rows);
    this.#arrange();
  }

  #showFacts(): void {
    this.#chart.setSessions(this.#facts.sessions);
    this.#chart.setAlerts(this.#facts.alerts);
    if (this.#panel?.isOpen) this.#showReceipt(false);
    this.#look();
  }

  // What a person chooses

  #choose(change: () => void): void {
    change();
    this.#showWhole();
    this.onChoice();
  }

  async #openPicker(): Promise<void> {
    const { Picker } = await import("./picker/dialog.ts");
    this.#picker ??= new Picker(
      (name) => this.#shownGroups().some((group) => group.id === name || group.id.startsWith(`${name}_`)),
      (chosen) => this.#choose(() => this.#choices.add(chosen, this.#groups)),
    );
    await this.#picker.open();
  }

  #openReceipt(name: string, row: Row | null = this.#receiptRow() ?? this.#chart.looked): void {
    if (!row) return;
    this.#receipt = { open: row[0] as number, name };
    this.#showReceipt(false);
    this.onChoice();
  }

  #receiptRow(): Row | null {
    return this.#panel?.isOpen && this.#receipt && !this.#chart.pointing ? this.#rowAt(this.#receipt.open) : null;
  }

  #rowAt(time: number): Row | null {
    const row = this.#bars.rows[placeOf(this.#bars.rows, time)];
    return row && row[0] === time ? row : null;
  }

  #showReceipt(reveal: boolean): void {
    void import("./receipt/panel.ts").then(({ ReceiptPanel }) => {
      this.#panel ??= new ReceiptPanel((name) => this.#openReceipt(name, this.#receipt && this.#rowAt(this.#receipt.open)), () => {
        this.closeReceipt();
        this.onChoice();
      });
      if (!this.#receipt || !this.#place) return;
      const { open, name } = this.#receipt;
      this.#chart.mark(open);
      const row = this.#rowAt(open);
      if (row && reveal) this.#chart.reveal(open);
      const alerts = row ? this.#chart.alertsAt(row).filter((alert) => alert.timeframe === this.#place?.timeframe) : [];
      this.#panel.show({
        place: this.#place, open, name, revision: row?.[COL.revision] ?? 0,
        names: ["bar", "open", "high", "low", "close", "volume", "vwap", "trade_count", ...this.store.columns.slice(BAR_WIDTH), ...new Set(alerts.map((alert) => `alert:${alert.rule}`))],
        computed: this.#computed.groups.map((group) => group.id),
      });
    });
  }
}
