/** Light or dark: the system's choice, until a person chooses. */

import { byId, remember, remembered, set } from "../base/dom.ts";

type Theme = "light" | "dark";

export function startTheme(onChange: () => void): void {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: light)");
  const button = byId("theme");

  const show = (theme: Theme): void => {
    root.dataset["theme"] = theme;
    set(button, "aria-label", theme === "dark" ? "Switch to light" : "Switch to dark");
    set(button, "title", theme === "dark" ? "Switch to light" : "Switch to dark");
    onChange();
  };

  button.addEventListener("click", () => {
    const theme: Theme = root.dataset["theme"] === "dark" ? "light" : "dark";
    remember("theme", theme);
    show(theme);
  });
  system.addEventListener("change", () => {
    if (!remembered("theme")) show(system.matches ? "light" : "dark");
  });
  show(root.dataset["theme"] === "light" ? "light" : "dark");
}
