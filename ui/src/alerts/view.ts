/** The view of alerts: what stands, what passed, and the rules that tell it. */

import "./style/alerts.css";
import "./style/rules.css";
import "./style/editor.css";

import { el } from "../base/dom.ts";
import type { Changes } from "../live/store.ts";
import type { App, OpenView, View } from "../shell/view.ts";
import { Editor } from "./editor.ts";
import { Feed } from "./feed.ts";
import { NO_FILTER, readFilter, standsText, writeFilter } from "./model.ts";
import type { Filter } from "./model.ts";
import { RuleList } from "./rules.ts";

const NEW = "new";
const RULE = "rule/";

export const openAlerts: OpenView = (root, app) => new AlertsView(root, app);

class AlertsView implements View {
  readonly #feed: Feed;
  readonly #rules: RuleList;
  readonly #editor: Editor;
  #filter: Filter = NO_FILTER;
  #shown = false;
  /** A rule that the address names, until the rules are known. */
  #asked: string | null = null;

  constructor(
    root: HTMLElement,
    private readonly app: App,
  ) {
    this.#feed = new Feed(app.store.alerts, NO_FILTER, (filter) => app.go(writeFilter(filter), true), (name) => this.#edit(name));
    this.#rules = new RuleList((rules) => {
      this.#feed.setRules(rules);
      this.#title();
      if (this.#asked !== null) this.#openAsked();
    }, (name) => this.#edit(name));
    this.#editor = new Editor(
      () => Math.max(0, ...[...app.store.quotes.values()].map((q) => q.lastTimeMs)) || Date.now(),
      (said) => this.#rules.tell(said),
      () => this.#shown && app.go(writeFilter(this.#filter)),
    );
    root.append(el("div", { class: "alerts-grid" }, this.#feed.root, this.#rules.root), this.#editor.root);
  }

  enter(rest: string): void {
    if (!this.#shown) {
      this.#shown = true;
      this.app.want({ chart: null, parts: ["alerts"] });
      this.#rules.enter();
      this.#feed.refresh();
    }
    document.body.dataset["state"] = "shown";
    this.#feed.setSymbols([...this.app.store.quotes.keys()].sort());
    if (rest === NEW) {
      this.#asked = null;
      void this.#editor.open(null);
    } else if (rest.startsWith(RULE)) {
      this.#asked = decodeURIComponent(rest.slice(RULE.length));
      this.#openAsked();
    } else {
      this.#asked = null;
      this.#editor.close();
      this.#filter = readFilter(rest);
      this.#feed.setFilter(this.#filter);
    }
    this.#title();
  }

  leave(): void {
    this.#shown = false;
    this.#rules.leave();
    this.#editor.close();
  }

  draw(changes: Changes): void {
    if (changes.parts["alerts"] !== undefined) {
      this.#feed.refresh();
      this.#title();
    }
    if (changes.symbols) this.#feed.setSymbols([...this.app.store.quotes.keys()].sort());
    if (changes.figures) {
      const serverMs = this.app.store.figures?.now_ms ?? 0;
      this.#feed.tick((symbol) => this.app.store.quotes.get(symbol)?.lastTimeMs ?? serverMs);
    }
  }

  restyle(): void {
    // every colour is the style sheet's
  }

  #title(): void {
    const muted = new Set((this.#rules.rules?.rules ?? []).filter((r) => r.muted).map((r) => r.name));
    const { standing } = this.#feed;
    this.app.title(standing.length ? `${standsText(standing, muted)} · Alerts` : "Alerts");
  }

  #edit(name: string | null): void {
    this.app.go(name === null ? `#/alerts/${NEW}` : `#/alerts/${RULE}${encodeURIComponent(name)}`);
  }

  #openAsked(): void {
    if (this.#asked === null || this.#rules.rules === null) return;
    const rule = this.#rules.find(this.#asked);
    this.#asked = null;
    if (rule) void this.#editor.open(rule);
    else this.app.go(writeFilter(this.#filter), true);
  }
}
