/** What a person chose for the chart: style, indicators, symbols beside it. Remembered, and in the address. */

import { remember, remembered } from "../base/dom.ts";
import type { Adjustment } from "./adjusting.ts";
import type { Group } from "./indicators.ts";
import { STYLES, readChosen, writeChosen } from "./link.ts";
import type { Choice, Chosen, Style } from "./link.ts";

export class Choices {
  style: Style = STYLES.find((style) => style === remembered("style")) ?? "candles";
  compare: string[] = [];
  adjust: Adjustment = "none";
  /** Null: nobody chose, so what is usual is shown. */
  #shown: Chosen[] | null = rememberedShown();

  /** Take over what an address says. */
  read(choice: Choice): void {
    if (choice.style) this.#setStyle(choice.style);
    if (choice.shown) this.#keep(choice.shown);
    this.compare = choice.compare;
    this.adjust = choice.adjust;
  }

  /** For the address. */
  get link(): Partial<Choice> {
    return { style: this.style, adjust: this.adjust, shown: this.#shown, compare: this.compare };
  }

  setStyle(style: Style): void {
    this.#setStyle(style);
  }

  isOn(group: Group): boolean {
    return this.#shown ? this.#shown.some((one) => one.stem === group.id) : isUsual(group);
  }

  /** What is shown beside the engine's groups: to be computed. */
  toCompute(engine: readonly Group[]): string[] {
    return (this.#shown ?? []).map((one) => one.stem).filter((stem) => !engine.some((g) => g.id === stem));
  }

  colored(group: Group): Group {
    return { ...group, color: this.#shown?.find((one) => one.stem === group.id)?.color ?? null };
  }

  /** Show an indicator, or take it away. `engine`: the groups there are without any choice. */
  toggle(stem: string, engine: readonly Group[]): void {
    const shown = this.#all(engine);
    this.#keep(shown.some((one) => one.stem === stem) ? shown.filter((one) => one.stem !== stem) : [...shown, { stem, color: null }]);
  }

  add(chosen: Chosen, engine: readonly Group[]): void {
    this.#keep([...this.#all(engine).filter((one) => one.stem !== chosen.stem), chosen]);
  }

  #all(engine: readonly Group[]): Chosen[] {
    return this.#shown ?? engine.filter(isUsual).map((group) => ({ stem: group.id, color: null }));
  }

  #keep(shown: Chosen[]): void {
    this.#shown = shown;
    remember("shown", writeChosen(shown));
  }

  #setStyle(style: Style): void {
    this.style = style;
    remember("style", style);
  }
}

/** On a high screen there is room for one more pane. */
const isUsual = (group: Group): boolean => group.onAtFirst || (group.id.startsWith("macd") && window.innerHeight >= 1_100);

function rememberedShown(): Chosen[] | null {
  const text = remembered("shown");
  return text === null ? null : readChosen(text);
}
