/** How the chart looks in the page's colours. */

import { ColorType, LineStyle } from "lightweight-charts";
import type { ChartOptions, DeepPartial } from "lightweight-charts";

import type { Palette } from "../base/palette.ts";

export function chartStyle(palette: Palette, timeframe: string): DeepPartial<ChartOptions> {
  return {
    layout: {
      background: { type: ColorType.Solid, color: palette.panel }, textColor: palette.text,
      fontFamily: palette.font, fontSize: palette.fontPx,
      panes: { separatorColor: palette.grid, separatorHoverColor: palette.band, enableResize: true },
    },
    grid: { vertLines: { color: palette.grid }, horzLines: { color: palette.grid } },
    crosshair: {
      vertLine: { color: palette.faint, labelBackgroundColor: palette.raised, style: LineStyle.Dashed },
      horzLine: { color: palette.faint, labelBackgroundColor: palette.raised, style: LineStyle.Dashed },
    },
    timeScale: { borderColor: palette.grid, timeVisible: !timeframe.endsWith("d"), secondsVisible: /[st]$/.test(timeframe) },
    localization: { locale: "en-GB" },
  };
}
