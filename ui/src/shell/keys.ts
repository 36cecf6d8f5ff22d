/** Keys that work in every view, and the dialog that lists them. */

import { byId, el } from "../base/dom.ts";
import { ENTRIES } from "./nav.ts";

interface Key {
  keys: string[];
  what: string;
}

const KEYS: readonly Key[] = [
  { keys: ["/"], what: "Search a symbol" },
  { keys: ["↑", "↓"], what: "The symbol above or below, in a list" },
  { keys: ["←", "→"], what: "Move along the chart; with Shift ten bars" },
  { keys: ["+", "−"], what: "Zoom the chart" },
  { keys: ["Home", "End"], what: "The chart's first and newest bar, when it has the focus" },
  { keys: ["Enter"], what: "The receipt of the bar looked at" },
  ...ENTRIES.map(({ name }, i) => ({ keys: ["g", String(i + 1)], what: `Go to ${name}` })),
  { keys: ["t"], what: "Switch between light and dark" },
  { keys: ["?"], what: "This help" },
  { keys: ["Esc"], what: "Close what is open" },
];
const SECOND_KEY_MS = 1_500;

/** Whether keys are text where they fall now. */
export function typing(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

export function startKeys(search: () => void, go: (address: string) => void): void {
  const dialog = byId("help") as HTMLDialogElement;
  byId("help-keys").append(
    ...KEYS.map(({ keys, what }) => el("div", {}, el("dt", {}, ...keys.map((k) => el("kbd", {}, k))), el("dd", {}, what))),
  );
  const open = (): void => {
    if (!dialog.open) dialog.showModal();
  };
  byId("open-help").addEventListener("click", open);
  byId("close-help").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside it

  let led = -Infinity; // when `g` was pressed
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event) || event.defaultPrevented) return;
    const entry = event.timeStamp - led < SECOND_KEY_MS ? ENTRIES[Number(event.key) - 1] : undefined;
    led = event.key === "g" ? event.timeStamp : -Infinity;
    if (dialog.open && event.key !== "?") return;
    if (entry) go(entry.href);
    else if (event.key === "?") dialog.open ? dialog.close() : open();
    else if (event.key === "/") search();
    else if (event.key === "t") byId("theme").click();
    else return;
    event.preventDefault();
  });
}
