/** The page: frames come in, one store changes, and the open view draws what changed, once per animation frame. */

import "./style/tokens.css";
import "./style/page.css";
import "./style/shell.css";
import "./style/narrow.css";

import { byId, say } from "./base/dom.ts";
import { clock } from "./base/format.ts";
import { Connection } from "./live/connection.ts";
import type { Link } from "./live/connection.ts";
import type { Frame } from "./live/protocol.ts";
import { NO_CHANGES, Store, together } from "./live/store.ts";
import type { Changes } from "./live/store.ts";
import { VIEWS, readAddress } from "./shell/address.ts";
import type { ViewName } from "./shell/address.ts";
import { startKeys } from "./shell/keys.ts";
import { Nav } from "./shell/nav.ts";
import { showStatus, statusOf } from "./shell/status.ts";
import { Strip } from "./shell/strip.ts";
import { startTheme } from "./shell/theme.ts";
import type { App, OpenView, View } from "./shell/view.ts";
import { openSymbol } from "./symbol/view.ts";

/** The chart comes with the page; the others when they are first opened. */
const LOAD: Partial<Record<ViewName, () => Promise<OpenView>>> = {
  market: async () => (await import("./market/view.ts")).openMarket,
  alerts: async () => (await import("./alerts/view.ts")).openAlerts,
  pipeline: async () => (await import("./pipeline/view.ts")).openPipeline,
  ask: async () => (await import("./ask/view.ts")).openAsk,
};

const store = new Store();
const strip = new Strip();
const nav = new Nav(byId("nav"));
const opened = new Map<ViewName, View>();
let shown: ViewName | null = null;
let link: Link = { state: "connecting" };
let due: Changes = NO_CHANGES;
let scheduled = false;

const scheme = location.protocol === "https:" ? "wss" : "ws";
const connection = new Connection(
  `${scheme}://${location.host}/ws`,
  take,
  (now) => {
    link = now;
    showStatus(statusOf(link, store.figures, Date.now()));
  },
  () => store.place(),
);

const app: App = {
  store,
  want: (wish) => connection.want(wish),
  go(address, replace = false) {
    if (location.hash === address) return;
    if (replace) history.replaceState(null, "", address || location.pathname);
    else history.pushState(null, "", address || location.pathname);
    follow();
  },
  title(text) {
    const title = text ? `${text} · MarketPulse` : "MarketPulse";
    if (document.title !== title) document.title = title;
  },
};

/** Take a frame in; false when it does not follow the last one. */
function take(frame: Frame): boolean {
  const changes = store.apply(frame, performance.now());
  if (!changes) return false;
  due = together(due, changes);
  if (!scheduled) {
    scheduled = true;
    requestAnimationFrame(draw);
  }
  return true;
}

function draw(): void {
  scheduled = false;
  const changes = due;
  due = NO_CHANGES;
  if (changes.figures) {
    strip.show(store);
    showStatus(statusOf(link, store.figures, Date.now()));
  }
  if (shown !== null) opened.get(shown)?.draw(changes);
}

/** Show what the address names. */
function follow(): void {
  const { view, rest } = readAddress(location.hash);
  if (shown !== view) {
    if (shown !== null) opened.get(shown)?.leave();
    shown = view;
    document.body.dataset["view"] = view;
    for (const name of VIEWS) byId(`view-${name}`).hidden = name !== view;
    nav.choose(view);
  }
  const ready = opened.get(view);
  if (!ready) {
    if (shown === null) byId("view-symbol").hidden = true; // the page was opened at another view, which is on its way
    void load(view);
    return;
  }
  if (view !== "symbol") document.body.dataset["state"] = "shown"; // that one says by itself what it waits for
  if (shown !== view) {
    if (shown !== null) opened.get(shown)?.leave();
    shown = view;
    document.body.dataset["view"] = view;
    VIEWS.forEach((name) => (byId(`view-${name}`).hidden = name !== view));
    nav.choose(view);
  }
  ready.enter(rest);
  if (view === "symbol") nav.lead("symbol", location.hash || "#");
}

async function load(view: ViewName): Promise<void> {
  const open = await LOAD[view]?.();
  if (!open) return app.go("", true);
  if (!opened.has(view)) opened.set(view, open(byId(`view-${view}`), app));
  if (readAddress(location.hash).view === view) follow();
}

byId("retry").addEventListener("click", () => connection.retry());
window.setInterval(() => {
  say(byId("clock"), `${clock(Date.now())} UTC`);
  if (link.state !== "open") showStatus(statusOf(link, store.figures, Date.now()));
}, 500);
opened.set("symbol", openSymbol(byId("view-symbol"), app));
startTheme(() => opened.forEach((view) => view.restyle()));
startKeys(() => {
  if (shown !== "symbol") app.go(byId("nav").querySelector<HTMLAnchorElement>("a[href^='#']:not([href^='#/'])")?.hash ?? "");
  byId("search").focus();
}, app.go);
window.addEventListener("popstate", follow);
follow();
connection.open();
