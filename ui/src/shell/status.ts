/** How the connection is, in one word at the top, and in a sentence when something is wrong. */

import type { Link } from "../live/connection.ts";
import { byId, say, set } from "../base/dom.ts";
import { clock, compact, duration } from "../base/format.ts";
import type { Figures } from "../live/protocol.ts";

const QUIET_MS = 15_000;
const BEHIND = 1_000; // records

export interface Status {
  state: "connecting" | "live" | "quiet" | "degraded" | "away" | "lost";
  word: string;
  sentence: string;
}

/** `nowMs` is this machine's clock: only used for the countdown; ages come from the server's own clock. */
export function statusOf(link: Link, figures: Figures | null, nowMs: number): Status {
  const newest = figures?.newest_row_ms ?? null;
  const since = newest === null ? "" : ` What you see is as of ${clock(newest)} UTC.`;
  if (link.state === "waiting") {
    const wait = Math.max(0, Math.ceil((link.untilMs - nowMs) / 1000));
    return { state: "lost", word: "Disconnected", sentence: `The connection to MarketPulse is lost; next try ${wait ? `in ${wait} s` : "now"}.${since}` };
  }
  if (link.state === "connecting") {
    return figures
      ? { state: "lost", word: "Reconnecting", sentence: `Connecting again …${since}` }
      : { state: "connecting", word: "Connecting", sentence: "" };
  }
  if (!figures) return { state: "connecting", word: "Connecting", sentence: "" };
  if (figures.broker_reachable === false) {
    return { state: "away", word: "Log is away", sentence: `The log (Kafka) does not answer. This page goes on by itself when it is back.${since}` };
  }
  const [worst] = figures.reasons;
  if (worst) {
    const sentence = `${worst.what} ${worst.do}`;
    return worst.severity === "down" ? { state: "away", word: "Down", sentence: sentence + since } : { state: "degraded", word: "Degraded", sentence };
  }
  if (newest === null) return { state: "connecting", word: "Waiting for data", sentence: "" };
  if (figures.now_ms - newest > QUIET_MS && (figures.lag_records ?? 0) > BEHIND) {
    const behind = `The engine has ${compact(figures.lag_records)} records of the log still to go through.`;
    return { state: "away", word: "Engine is behind", sentence: behind + since };
  }
  if (figures.now_ms - newest > QUIET_MS) {
    return { state: "quiet", word: `Quiet for ${duration(figures.now_ms - newest)}`, sentence: "" };
  }
  return { state: "live", word: "Live", sentence: "" };
}

export function showStatus(status: Status): void {
  set(byId("link"), "data-state", status.state);
  say(byId("link-text"), status.word);
  byId("banner").hidden = status.sentence === "";
  say(byId("banner-text"), status.sentence);
  byId("retry").hidden = status.state !== "lost";
  document.body.toggleAttribute("data-old", status.state === "lost" || status.state === "away");
}
