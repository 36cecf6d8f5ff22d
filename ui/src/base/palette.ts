/** The colours of the canvas, read from the style sheet so that there is one place for them. */

export interface Palette {
  panel: string;
  grid: string;
  line: string;
  text: string;
  faint: string;
  raised: string;
  up: string;
  down: string;
  volumeUp: string;
  volumeDown: string;
  band: string;
  shade: string;
  accent: string;
  accentSoft: string;
  warn: string;
  series: string[];
  font: string;
  fontPx: number;
}

export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    panel: of("panel"),
    grid: of("grid"),
    line: of("line-strong"),
    text: of("text-soft"),
    faint: of("text-faint"),
    raised: of("line-strong"),
    up: of("up"),
    down: of("down"),
    volumeUp: of("volume-up"),
    volumeDown: of("volume-down"),
    band: of("band"),
    shade: of("shade"),
    accent: of("accent"),
    accentSoft: of("accent-soft"),
    warn: of("warn"),
    series: [1, 2, 3, 4, 5, 6].map((n) => of(`series-${n}`)),
    font: of("font"),
    fontPx: Math.round(0.6875 * parseFloat(style.fontSize)),
  };
}
