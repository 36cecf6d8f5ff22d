/** The page: frames come in, one store changes, and what changed is drawn once per animation frame. */

import "./style/tokens.css";
import "./style/page.css";
import "./style/watch.css";
import "./style/side.css";
import "./style/narrow.css";

import { Chart } from "./chart.ts";
import { Connection } from "./connection.ts";
import type { Link } from "./connection.ts";
import { byId, el, remember, remembered, say, set } from "./dom.ts";
import { clock, compact, decimalsOf } from "./format.ts";
import { Timeframes, showChips, showSymbol, titleOf } from "./header.ts";
import { groupsOf } from "./indicators.ts";
import type { Group } from "./indicators.ts";
import { showLegends } from "./legend.ts";
import { possibleTimeframe, readLink, usualTimeframe, writeLink } from "./link.ts";
import type { Place } from "./link.ts";
import { readPalette } from "./palette.ts";
import { Pipeline } from "./pipeline.ts";
import { COL } from "./protocol.ts";
import type { Figures, Frame, Row } from "./protocol.ts";
import { showStatus, statusOf } from "./status.ts";
import { Store, worthwhile } from "./store.ts";
import { startTheme } from "./theme.ts";
import { Values } from "./values.ts";
import { WatchList } from "./watch.ts";

const store = new Store();
const pipeline = new Pipeline();
const values = new Values();
const asked: Partial<Place> = readLink(location.hash);
let place: Place | null = null;
/** The timeframe that was chosen; a symbol without it is shown in another one. */
let wanted: string | null = null;
/** Nobody chose the symbol: a better one may still come. */
let settledAlone = false;
const SETTLING_MS = 15_000;
let settleUntil = Infinity;
let groups: Group[] = [];
let switched = readSwitches();
let decimals = 2;
let link: Link = { state: "connecting" };

/** What has to be drawn at the next animation frame. */
let due = { list: false, arrange: false, figures: false, header: false, whole: false, between: false, rows: [] as Row[] };
let scheduled = false;

const chart = new Chart(byId("chart"), readPalette(), () => look(), (atNewest) => (byId("to-now").hidden = atNewest));
const watch = new WatchList(store, (symbol) => chooseSymbol(symbol));
const timeframes = new Timeframes((timeframe) => {
  if (!place) return;
  wanted = timeframe;
  remember("timeframe", timeframe);
  go({ symbol: place.symbol, timeframe });
});
const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
const connection = new Connection(address, take, (now) => {
  link = now;
  showStatus(statusOf(link, store.figures, Date.now()));
});

/** Take a frame in; false when it does not follow the last one. */
function take(frame: Frame): boolean {
  const changes = store.apply(frame, performance.now());
  if (!changes) return false;
  if (changes.columns) groups = groupsOf(store.columns);
  due.list ||= changes.quotes.size > 0 || changes.sparks;
  due.arrange ||= changes.symbols;
  due.figures ||= changes.figures;
  due.header ||= changes.chart !== "none" || (place !== null && changes.quotes.has(place.symbol));
  due.whole ||= changes.chart === "whole" || (changes.columns && store.chart !== null);
  due.between ||= changes.chart === "between";
  if (changes.chart === "rows") due.rows.push(...changes.rows);
  if (changes.quotes.size && (!place || (settledAlone && performance.now() < settleUntil))) settle();
  schedule();
  return true;
}

function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(draw);
}

function draw(): void {
  scheduled = false;
  const now = due;
  due = { list: false, arrange: false, figures: false, header: false, whole: false, between: false, rows: [] };
  if (now.whole) showWhole();
  else if (now.between && isShown()) chart.refill();
  else if (now.rows.length && isShown()) chart.update(now.rows);
  if (now.list || now.arrange) watch.refresh(now.arrange);
  if (now.figures) {
    pipeline.show(store);
    showStatus(statusOf(link, store.figures, Date.now()));
  }
  if (place && (now.header || now.whole)) {
    showSymbol(store, place, decimals);
    const title = titleOf(store, place, decimals);
    if (document.title !== title) document.title = title;
  }
  showState();
}

function isShown(): boolean {
  return store.chart?.symbol === place?.symbol && store.chart?.timeframe === place?.timeframe;
}

/** Draw the chart from its beginning: another symbol, timeframe, set of columns or of switches. */
function showWhole(): void {
  if (!place || !isShown() || !store.chart) return;
  const { rows } = store.chart;
  decimals = decimalsOf(rows.slice(-80).map((row) => row[COL.close] ?? null));
  const on = groups.filter((g) => isOn(g));
  chart.show(on, place, decimals, rows);
  showChips(groups, new Set(on.map((g) => g.id)), (g) => chart.colorOf(g, 0), toggle);
  values.arrange(groups, chart);
  timeframes.show(store.timeframes, store.quotes.get(place.symbol)?.timeframes ?? [], place.timeframe);
  set(byId("chart"), "aria-label", `Candle chart of ${place.symbol}, ${place.timeframe} bars, ${rows.length} shown`);
  look();
}

function look(): void {
  if (!place) return;
  showLegends(chart, groups.filter((g) => isOn(g)), place.timeframe, decimals);
  values.show(chart, decimals);
}

function showState(): void {
  const nothing = store.figures !== null && store.quotes.size === 0;
  const rowless = place !== null && isShown() && store.chart?.rows.length === 0;
  const waiting = !nothing && !isShown();
  document.body.dataset["state"] = nothing ? "empty" : waiting ? "loading" : rowless ? "rowless" : "shown";
  byId("empty").hidden = !nothing && !rowless;
  if (nothing) sayEmpty("Waiting for the first bar", waitingText(store.figures));
  else if (rowless) sayEmpty(`No ${place!.timeframe} bars of ${place!.symbol} yet`, ["They appear here by themselves as soon as the first one forms."]);
}

/** What the wait is for: every second text is code. */
function waitingText(figures: Figures | null): string[] {
  if (figures?.lag_records) return [`Data comes in; the engine has ${compact(figures.lag_records)} records to go through.`];
  if (figures?.events_per_s) return ["Data comes in; the first bar shows as soon as it forms."];
  return ["Nothing has come through the log yet. Feed it with ", "marketpulse produce", ", or run everything with ", "marketpulse up", "."];
}

function sayEmpty(title: string, text: string[]): void {
  const node = byId("empty-text");
  if (byId("empty-title").textContent === title && node.textContent === text.join("")) return;
  say(byId("empty-title"), title);
  node.replaceChildren(...text.map((part, i) => (i % 2 ? el("code", {}, part) : part)));
}

// What a person chooses

/** The first place: what the address asks for, else the last one seen, else the first symbol. */
function settle(): void {
  const kept = readLink(remembered("place") ?? "");
  const named = asked.symbol ?? (kept.symbol && store.quotes.has(kept.symbol) ? kept.symbol : null);
  settledAlone = named === null;
  const symbol = named ?? worthwhile(store, place?.symbol ?? null, performance.now());
  settleUntil = Math.min(settleUntil, performance.now() + SETTLING_MS);
  if (symbol === null) return;
  wanted ??= asked.timeframe ?? remembered("timeframe");
  go({ symbol, timeframe: asked.timeframe ?? timeframeOf(symbol) }, false, !settledAlone);
}

function timeframeOf(symbol: string): string {
  const has = store.quotes.get(symbol)?.timeframes ?? [];
  // Nobody chose: what the spark-line is drawn of has enough bars for a chart.
  return possibleTimeframe(wanted ?? store.sparks.get(symbol)?.timeframe ?? usualTimeframe(has), has);
}

function chooseSymbol(symbol: string): void {
  settledAlone = false;
  go({ symbol, timeframe: timeframeOf(symbol) });
  closeList();
}

function go(next: Place, record = true, keep = true): void {
  const same = place?.symbol === next.symbol && place.timeframe === next.timeframe;
  place = next;
  const address = writeLink(next);
  if (location.hash !== address) {
    if (record) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
  }
  if (keep) remember("place", address);
  watch.choose(next.symbol);
  timeframes.show(store.timeframes, store.quotes.get(next.symbol)?.timeframes ?? [], next.timeframe);
  if (same) return;
  connection.want(next);
  due.header = true;
  schedule();
}

window.addEventListener("popstate", () => {
  const { symbol, timeframe } = readLink(location.hash);
  if (symbol) {
    settledAlone = false;
    go({ symbol, timeframe: timeframe ?? timeframeOf(symbol) }, false);
  }
});

function readSwitches(): Record<string, boolean> {
  try {
    const kept: unknown = JSON.parse(remembered("indicators") ?? "{}");
    return typeof kept === "object" && kept !== null ? (kept as Record<string, boolean>) : {};
  } catch {
    return {};
  }
}

function isOn(group: Group): boolean {
  return switched[group.id] ?? (group.onAtFirst || (group.id.startsWith("macd") && window.innerHeight >= 1_100));
}

function toggle(id: string): void {
  const group = groups.find((g) => g.id === id);
  if (!group) return;
  switched = { ...switched, [id]: !isOn(group) };
  remember("indicators", JSON.stringify(switched));
  due.whole = true;
  schedule();
}

// A hint that there are more chips than fit
const chips = byId("chips");
const hint = (): unknown => chips.classList.toggle("more", chips.scrollLeft + chips.clientWidth < chips.scrollWidth - 4);
chips.addEventListener("scroll", hint, { passive: true });
new ResizeObserver(hint).observe(chips);
new MutationObserver(hint).observe(chips, { childList: true });

// The list as a drawer on narrow screens

const openList = byId("open-list");

function closeList(): void {
  byId("watch").classList.remove("open");
  byId("backdrop").hidden = true;
  set(openList, "aria-expanded", "false");
}

openList.addEventListener("click", () => {
  byId("watch").classList.add("open");
  byId("backdrop").hidden = false;
  set(openList, "aria-expanded", "true");
  byId("watch-list").focus();
});
byId("backdrop").addEventListener("click", closeList);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && byId("watch").classList.contains("open")) {
    closeList();
    openList.focus();
  }
});

// Begin

for (let i = 0; i < 48; i++) {
  const bar = el("i");
  bar.style.setProperty("--h", String(Math.round(28 + 22 * Math.sin(i / 5) + 14 * Math.sin(i / 1.7) + i / 3)));
  byId("skeleton").append(bar);
}
byId("to-now").addEventListener("click", () => chart.toNow());
byId("retry").addEventListener("click", () => connection.retry());
window.setInterval(() => {
  say(byId("clock"), `${clock(Date.now())} UTC`);
  if (link.state !== "open") showStatus(statusOf(link, store.figures, Date.now()));
}, 500);
startTheme(() => {
  chart.restyle(readPalette());
  if (isShown()) {
    values.arrange(groups, chart);
    showChips(groups, new Set(groups.filter(isOn).map((g) => g.id)), (g) => chart.colorOf(g, 0), toggle);
    look();
  }
});
connection.open();
