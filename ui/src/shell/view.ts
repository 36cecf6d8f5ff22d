/** What a view is, and what it gets from the page around it. */

import type { Wish } from "../live/protocol.ts";
import type { Changes, Store } from "../live/store.ts";

export interface App {
  /** All that came over the WebSocket. */
  readonly store: Store;
  /** What the open view wants to see beside the quotes; it takes the place of what was wanted before. */
  want(wish: Wish): void;
  /** Go to an address such as `#/alerts`; `replace`: without a step in the browser's history. */
  go(address: string, replace?: boolean): void;
  /** The document's title, of which the page makes `title · MarketPulse`; empty: the page's own. */
  title(text: string): void;
}

export interface View {
  /** Shown, or shown with another address: what stands behind the view's name in it. */
  enter(rest: string): void;
  /** Another view takes the place. */
  leave(): void;
  /** Once per animation frame while it is shown, with all that changed since the last time. */
  draw(changes: Changes): void;
  /** The theme's colours changed. */
  restyle(): void;
}

export type OpenView = (root: HTMLElement, app: App) => View;
