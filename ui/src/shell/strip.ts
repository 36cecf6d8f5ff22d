/** The strip at the foot: the pipeline's figures. */

import { byId, set, svg } from "../base/dom.ts";
import { linePath } from "../base/path.ts";
import type { Store } from "../live/store.ts";
import { FIGURES, pair, write } from "./figures.ts";

export class Strip {
  readonly #pairs = FIGURES.map((figure) => pair(figure));
  readonly #mini = svg("path");

  constructor() {
    this.#pairs[0]!.root.append(svg("svg", { viewBox: "0 0 56 16", preserveAspectRatio: "none", "aria-hidden": "true" }, this.#mini));
    byId("strip").append(...this.#pairs.map((p) => p.root));
  }

  show({ figures, samples }: Store): void {
    if (!figures) return;
    FIGURES.forEach((figure, i) => write(this.#pairs[i]!, figure, figures, samples[0]!));
    set(this.#mini, "d", linePath(samples.slice(-40).map((s) => s.eventsPerS), 56, 14, 1));
  }
}
