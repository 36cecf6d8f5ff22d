/** The colours of tiles: from the ground of nothing to the colour of its way, in steps, never too strong for text on it. */

import type { Palette } from "../base/palette.ts";

export const STEPS = 8;
const STRONGEST = 0.52; // of the way's colour; text on it keeps a contrast of 4.5 (ui/test/market.test.ts)
const SCALES = [0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 50];

/** The step of a change, -STEPS … STEPS, on a scale that ends at `most` percent. */
export function stepOf(percent: number | null, most: number): number {
  if (percent === null) return 0;
  const share = Math.max(-1, Math.min(1, percent / most));
  return Math.sign(share) * Math.ceil(Math.abs(share) * STEPS - 0.05) || 0;
}

/** The end of the scale that suits: nine of ten changes lie on it. */
export function scaleOf(percents: readonly (number | null)[]): number {
  const sizes = percents.filter((p): p is number => p !== null).map(Math.abs).sort((a, b) => a - b);
  const wanted = sizes[Math.floor(sizes.length * 0.9)] ?? 0;
  return SCALES.find((end) => end >= wanted) ?? SCALES.at(-1)!;
}

/** Colours by step + STEPS. */
export function ramp(palette: Pick<Palette, "panel" | "up" | "down" | "grid">): string[] {
  return Array.from({ length: 2 * STEPS + 1 }, (_, i) => {
    const step = i - STEPS;
    if (step === 0) return mix(palette.panel, palette.grid, 1);
    return mix(palette.panel, step > 0 ? palette.up : palette.down, 0.14 + (STRONGEST - 0.14) * ((Math.abs(step) - 1) / (STEPS - 1)));
  });
}

export function mix(from: string, to: string, share: number): string {
  const [a, b] = [channels(from), channels(to)];
  return `rgb(${a.map((v, i) => Math.round(v + (b[i]! - v) * share)).join(" ")})`;
}

/** Of #rgb or #rrggbb, as style/tokens.css has them. */
function channels(hex: string): number[] {
  const long = hex.length === 4 ? hex.replace(/[0-9a-f]/gi, "$&$&") : hex;
  return [1, 3, 5].map((at) => parseInt(long.slice(at, at + 2), 16));
}
