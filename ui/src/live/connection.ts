/** The WebSocket: opens it, asks for what is to be seen, notices silence, comes back with growing patience, and goes on where it was. */

import type { Frame, Wish } from "./protocol.ts";

export type Link = { state: "connecting" } | { state: "open" } | { state: "waiting"; untilMs: number };

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
const SILENCE_MS = 6_000; // figures come every second, so this long without a word is a dead line

/** How long to wait before try number `tries` (from 0): doubled each time, and spread by `spread` in [0, 1). */
export function patience(tries: number, spread: number): number {
  return Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(tries, 10)) * (0.75 + spread / 2);
}

export class Connection {
  #socket: WebSocket | null = null;
  #tries = 0;
  #timer = 0;
  #silence = 0;
  #wanted: Wish | null = null;
  /** Frames in a row that did not follow the one before. */
  #gaps = 0;

  constructor(
    private readonly url: string,
    private readonly onFrame: (frame: Frame) => boolean,
    private readonly onLink: (link: Link) => void,
    /** Where the page stands; null: nowhere. */
    private readonly place: () => string | null,
  ) {
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.#socket === null) this.retry();
    });
    window.addEventListener("online", () => this.#socket === null && this.retry());
  }

  open(): void {
    this.onLink({ state: "connecting" });
    const place = this.#gaps < 2 ? this.place() : null; // what cannot be mended is begun anew
    const socket = new WebSocket(place === null ? this.url : `${this.url}?resume=${encodeURIComponent(place)}`);
    this.#socket = socket;
    this.#listenForSilence();
    socket.onopen = () => {
      this.onLink({ state: "open" });
      this.#ask();
    };
    socket.onmessage = (event: MessageEvent<string>) => {
      this.#tries = 0;
      this.#listenForSilence();
      if (this.onFrame(JSON.parse(event.data) as Frame)) this.#gaps = 0;
      else this.#mend(socket);
    };
    socket.onclose = () => this.#lost(socket);
  }

  /** Ask for this from now on, over this socket and every later one. */
  want(wish: Wish): void {
    if (JSON.stringify(wish) === JSON.stringify(this.#wanted)) return;
    this.#wanted = wish;
    this.#ask();
  }

  retry(): void {
    window.clearTimeout(this.#timer);
    if (this.#socket === null) this.open();
  }

  #ask(): void {
    if (this.#wanted && this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify({ subscribe: this.#wanted }));
    }
  }

  /** A frame did not follow the last one: ask at once for what lies between. */
  #mend(socket: WebSocket): void {
    this.#gaps += 1;
    if (this.#socket !== socket) return;
    this.#socket = null;
    socket.onmessage = null;
    socket.close();
    this.open();
  }

  #listenForSilence(): void {
    window.clearTimeout(this.#silence);
    const socket = this.#socket;
    this.#silence = window.setTimeout(() => {
      socket?.close();
      if (socket) this.#lost(socket); // a dead line may take minutes to say that it closed
    }, SILENCE_MS);
  }

  #lost(socket: WebSocket): void {
    if (this.#socket !== socket) return;
    this.#socket = null;
    window.clearTimeout(this.#silence);
    const wait = patience(this.#tries++, Math.random());
    this.#timer = window.setTimeout(() => this.open(), wait);
    this.onLink({ state: "waiting", untilMs: Date.now() + wait });
  }
}
