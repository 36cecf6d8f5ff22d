/** The links to the views. */

import { el, set, svg } from "../base/dom.ts";
import type { ViewName } from "./address.ts";

interface Entry {
  view: ViewName;
  name: string;
  href: string;
  /** What the view is for. */
  title: string;
  /** Of a drawing on 20 × 20. */
  icon: string;
}

export const ENTRIES: readonly Entry[] = [
  { view: "market", name: "Market", href: "#/market", title: "Every symbol at a glance", icon: "M3 3h8v8H3zM13.5 3H17v5h-3.5zM13.5 10.5H17V17h-3.5zM3 13.5h8V17H3z" },
  { view: "symbol", name: "Symbol", href: "#", title: "One symbol's chart", icon: "M5.5 3v3M5.5 13v4M4 6h3v7H4zM10 2.5v2M10 11v3M8.5 4.5h3V11h-3zM14.5 5v3M14.5 14v3M13 8h3v6h-3z" },
  { view: "alerts", name: "Alerts", href: "#/alerts", title: "What the rules say, and the rules", icon: "M5 13.5V9a5 5 0 0 1 10 0v4.5l1.5 2h-13zM8.4 17.4a1.8 1.8 0 0 0 3.2 0" },
  { view: "pipeline", name: "Pipeline", href: "#/pipeline", title: "How the data flows, and what is wrong", icon: "M2.5 10H6M14 10h3.5M10 2.5V6M10 14v3.5M6 6h8v8H6z" },
  { view: "ask", name: "Ask", href: "#/ask", title: "SQL over all that is stored", icon: "M3 4h14v10H9l-3.5 3v-3H3zM6.5 7.5 8.5 9l-2 1.5M10 10.8h3.5" },
];

export class Nav {
  readonly #links = new Map<ViewName, HTMLAnchorElement>();

  constructor(root: HTMLElement) {
    for (const { view, name, href, title, icon } of ENTRIES) {
      const drawing = svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, svg("path", { d: icon }));
      const link = el("a", { href, title }, drawing, el("span", {}, name));
      this.#links.set(view, link);
      root.append(link);
    }
  }

  choose(view: ViewName): void {
    for (const [name, link] of this.#links) {
      if (name === view) set(link, "aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  /** Where the link to the chart leads: to the symbol that was looked at last. */
  lead(view: ViewName, href: string): void {
    set(this.#links.get(view)!, "href", href);
  }
}
