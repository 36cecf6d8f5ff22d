/** Scales and their ticks. Pure. */

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TIME_STEPS = [1_000, 5_000, 15_000, 30_000, MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Round numbers that cover the values, about `wanted` of them, and how many decimals tell them apart. */
export function numberTicks(low: number, high: number, wanted: number): { ticks: number[]; decimals: number } {
  if (low === high) {
    const room = Math.abs(low) * 0.05 || 1;
    [low, high] = [low - room, high + room];
  }
  const raw = (high - low) / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= raw * 0.999)!;
  const ticks = [];
  for (let i = Math.floor(low / step + 1e-9); i <= Math.ceil(high / step - 1e-9); i++) ticks.push(Number((i * step).toPrecision(12)));
  const decimals = Math.max(0, ...ticks.map((t) => (String(t).split("e")[0]!.split(".")[1] ?? "").length));
  return { ticks, decimals: Math.min(8, decimals) };
}

/** Round times between two, UTC, about `wanted` of them, each with its words. */
export function timeTicks(low: number, high: number, wanted: number): { at: number; text: string }[] {
  const raw = (high - low) / Math.max(1, wanted);
  const step = TIME_STEPS.find((s) => s >= raw);
  const found: { at: number; text: string }[] = [];
  if (step !== undefined) {
    for (let at = Math.ceil(low / step) * step; at <= high; at += step) found.push({ at, text: timeText(at, step) });
    return found;
  }
  const months = [1, 2, 3, 6, 12, 24, 60, 120].find((m) => m * 30.4 * DAY >= raw) ?? 240;
  const start = new Date(low);
  let month = Math.ceil((start.getUTCFullYear() * 12 + start.getUTCMonth()) / months) * months;
  for (; ; month += months) {
    const at = Date.UTC(Math.floor(month / 12), month % 12);
    if (at > high) return found;
    if (at >= low) found.push({ at, text: month % 12 === 0 ? String(month / 12) : `${MONTHS[month % 12]} ${String(Math.floor(month / 12)).slice(-2)}` });
  }
}

function timeText(at: number, step: number): string {
  const t = new Date(at);
  const two = (n: number): string => String(n).padStart(2, "0");
  const day = `${t.getUTCDate()} ${MONTHS[t.getUTCMonth()]}`;
  if (step >= DAY || at % DAY === 0) return day;
  const minute = `${two(t.getUTCHours())}:${two(t.getUTCMinutes())}`;
  return step < MINUTE ? `${minute}:${two(t.getUTCSeconds())}` : minute;
}
