/** A list at the side that is a drawer on narrow screens. */

import { set } from "../base/dom.ts";

export class Drawer {
  constructor(
    private readonly list: HTMLElement,
    private readonly button: HTMLElement,
    private readonly backdrop: HTMLElement,
    private readonly inside: HTMLElement,
  ) {
    button.addEventListener("click", () => this.#open());
    backdrop.addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.list.classList.contains("open")) return;
      this.close();
      button.focus();
    });
  }

  close(): void {
    this.list.classList.remove("open");
    this.backdrop.hidden = true;
    set(this.button, "aria-expanded", "false");
  }

  #open(): void {
    this.list.classList.add("open");
    this.backdrop.hidden = false;
    set(this.button, "aria-expanded", "true");
    this.inside.focus();
  }
}
