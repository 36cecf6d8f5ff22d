/** The WebSocket: opens it, asks for what is to be seen, notices silence, comes back with growing patience. */

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

  constructor(
    private readonly url: string,
    private readonly onFrame: (frame: Frame) => boolean,
    private readonly onLink: (link: Link) => void,
  ) {
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.#socket === null) this.retry();
    });
    window.addEventListener("online", () => this.#socket === null && this.retry());
  }

  open(): void {
    this.onLink({ state: "connecting" });
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    this.#listenForSilence();
    socket.onopen = () => {
      this.onLink({ state: "open" });
      this.#ask();
    };
    socket.onmessage = (event: MessageEvent<string>) => {
      this.#tries = 0;
      this.#listenForSilence();
      // A frame that does not follow the last one: begin again, the first frame is the whole.
      if (!this.onFrame(JSON.parse(event.data) as Frame)) socket.close();
    };
    socket.onclose = () => this.#lost(socket);
  }

  /** Ask for this from now on, over this socket and every later one. */
  want(wish: Wish): void {
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
