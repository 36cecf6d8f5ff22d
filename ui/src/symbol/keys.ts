/** Keys of the chart: along the bars, closer and further, to either end, and the receipt. */

import type { Chart } from "./chart.ts";

const NEAR = new Set(["ArrowLeft", "ArrowRight", "+", "=", "-", "_"]);
const OF_FOCUS = new Set(["Home", "End", "Enter", "Escape", "PageUp", "PageDown"]);

/** `shown`: whether the view is; `choose`: the receipt of the bar looked at; `said`: after a move. */
export function chartKeys(host: HTMLElement, chart: Chart, shown: () => boolean, choose: () => void, said: () => void): void {
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || !shown()) return;
    if (target.closest("input, textarea, select, dialog, [role=radiogroup], [role=tablist], aside") || document.querySelector("dialog[open]")) return;
    const focused = target === host || host.contains(target);
    if (!NEAR.has(event.key) && !(focused && OF_FOCUS.has(event.key))) return;
    if (event.key === "Escape" && !chart.pointing) return;
    move(chart, event, choose);
    if (event.key !== "Enter") said();
    event.preventDefault();
    event.stopImmediatePropagation(); // the watch list has some of these keys too
  }, { capture: true });
}

function move(chart: Chart, event: KeyboardEvent, choose: () => void): void {
  const by = event.shiftKey ? 10 : 1;
  switch (event.key) {
    case "ArrowLeft": return chart.step(-by);
    case "ArrowRight": return chart.step(by);
    case "PageUp": return chart.step(-50);
    case "PageDown": return chart.step(50);
    case "+": case "=": return chart.zoom(1.5);
    case "-": case "_": return chart.zoom(1 / 1.5);
    case "Home": return chart.toBegin();
    case "End": return chart.toNow();
    case "Escape": return chart.unpoint();
    default: return choose();
  }
}
