/** When an exchange trades. Pure. */

/** As /api/chart/sessions tells it; times are ms. */
export interface Session {
  /** Days since 1970-01-01. */
  date: number;
  open_ms: number;
  close_ms: number;
  half_day: boolean;
  pre_ms: number | null;
  post_ms: number | null;
}

export type Phase = "before" | "regular" | "after" | "closed";

/** The session that a time belongs to, with the hours around it; null: none. Sessions are sorted. */
export function sessionAt(sessions: readonly Session[], time: number): Session | null {
  let [low, high] = [0, sessions.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sessions[middle]!.pre_ms ?? sessions[middle]!.open_ms) <= time) low = middle + 1;
    else high = middle;
  }
  const found = sessions[low - 1];
  return found && time < (found.post_ms ?? found.close_ms) ? found : null;
}

export function phaseOf(session: Session | null, time: number): Phase {
  if (!session) return "closed";
  return time < session.open_ms ? "before" : time < session.close_ms ? "regular" : "after";
}
