/** The chosen symbol: name, price, change, session; and the switches for timeframe and indicators. */

import { byId, el, say, set } from "../base/dom.ts";
import { ARROW, asOf, compact, day, decimalsOf, direction, percent, price, signed } from "../base/format.ts";
import type { Place } from "../live/protocol.ts";
import { changeOf } from "../live/store.ts";
import type { Quote, Store } from "../live/store.ts";

const DAY_MS = 86_400_000;

export function showSymbol(store: Store, place: Place, decimals: number): void {
  const quote = store.quotes.get(place.symbol);
  say(byId("symbol-text"), place.symbol);
  const old = quote ? asOf(quote.lastTimeMs, Date.now()) : "";
  say(byId("venue"), [quote?.venue, old && `as of ${old}`].filter(Boolean).join(" · "));
  byId("simulated").hidden = !quote?.simulated;
  showPrice(quote, decimals);
  showBook(quote, decimals);
  const session = store.chart?.symbol === place.symbol ? store.chart.session : null;
  say(byId("s-open"), price(session?.open, decimals));
  say(byId("s-low"), price(session?.low, decimals));
  say(byId("s-high"), price(session?.high, decimals));
  say(byId("s-volume"), compact(session?.volume));
  byId("reference").hidden = quote?.referenceKind === "session_open"; // it stands there as the open already
  say(byId("s-reference"), price(quote?.reference, decimals));
  set(byId("session"), "title", session ? `Session of ${day(session.date * DAY_MS)}` : "");
  const track = byId("track");
  if (session && session.high > session.low) {
    const at = (100 * ((quote?.last ?? session.close) - session.low)) / (session.high - session.low);
    track.style.setProperty("--at", String(Math.min(100, Math.max(0, at))));
  }
  set(track, "aria-label", session ? `between ${price(session.low, decimals)} and ${price(session.high, decimals)}` : "");
}

function showPrice(quote: Quote | undefined, decimals: number): void {
  const change = quote ? changeOf(quote) : null;
  const way = direction(change?.percent);
  say(byId("last"), price(quote?.last, decimals));
  const node = byId("change");
  set(node, "class", `change ${way}`);
  const from = quote?.referenceKind === "session_open" ? "since the session's open" : "against the previous session's close";
  set(node, "title", change ? from : "");
  say(node, change ? `${ARROW[way]} ${signed(change.difference, decimals)} (${percent(change.percent)})` : "");
}

/** The newest bid and ask with the spread between them; sizes on hovering. */
function showBook(quote: Quote | undefined, decimals: number): void {
  const node = byId("book");
  const { bid = null, bidSize = null, ask = null, askSize = null } = quote ?? {};
  node.hidden = bid === null || ask === null;
  if (bid === null || ask === null) return;
  const fine = Math.max(decimals, decimalsOf([bid, ask]));
  const spread = price(ask - bid, fine);
  say(byId("bid"), price(bid, fine));
  say(byId("spread"), spread);
  say(byId("ask"), price(ask, fine));
  const words = `Bid ${price(bid, fine)} × ${compact(bidSize)}, ask ${price(ask, fine)} × ${compact(askSize)}, spread ${spread}`;
  set(node, "title", words);
  set(node, "aria-label", words);
}

export function titleOf(store: Store, place: Place | null, decimals: number): string {
  const quote = place ? store.quotes.get(place.symbol) : undefined;
  if (!quote || quote.last === null) return "MarketPulse";
  const change = changeOf(quote);
  const way = direction(change?.percent);
  const moved = change ? ` ${ARROW[way]} ${percent(change.percent)}` : "";
  return `${quote.symbol} ${price(quote.last, decimals)}${moved} · MarketPulse`;
}

/** The timeframe switch: a radio group that arrow keys move in. */
export class Timeframes {
  readonly #root = byId("timeframes");
  #names: readonly string[] = [];

  constructor(private readonly onChoose: (timeframe: string) => void) {
    this.#root.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      const at = this.#names.indexOf((document.activeElement as HTMLElement).dataset["timeframe"] ?? "");
      const next = this.#names[(at + by + this.#names.length) % this.#names.length];
      if (next) {
        this.onChoose(next);
        this.#root.querySelector<HTMLElement>(`[data-timeframe="${next}"]`)?.focus();
      }
    });
  }

  show(names: readonly string[], has: readonly string[], chosen: string): void {
    if (this.#names.join() !== names.join()) {
      this.#names = [...names];
      this.#root.replaceChildren(
        ...names.map((name) => {
          const button = el("button", { type: "button", role: "radio", "data-timeframe": name }, name);
          button.addEventListener("click", () => this.onChoose(name));
          return button;
        }),
      );
    }
    for (const button of this.#root.children) {
      const on = (button as HTMLElement).dataset["timeframe"] === chosen;
      set(button, "aria-checked", String(on));
      const missing = has.length > 0 && !has.includes((button as HTMLElement).dataset["timeframe"] ?? "");
      button.toggleAttribute("disabled", missing && !on);
      set(button, "tabindex", on ? "0" : "-1");
    }
  }
}

/** A hint that there are more switches than fit. */
export function hintAtMore(chips: HTMLElement): void {
  const hint = (): unknown => chips.classList.toggle("more", chips.scrollLeft + chips.clientWidth < chips.scrollWidth - 4);
  chips.addEventListener("scroll", hint, { passive: true });
  new ResizeObserver(hint).observe(chips);
  new MutationObserver(hint).observe(chips, { childList: true });
}
