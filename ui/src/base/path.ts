/** Small line drawings as SVG paths. */

/** A line through the values, left to right, filling `width` × `height`; nulls are gaps. */
export function linePath(values: readonly (number | null)[], width: number, height: number, top?: number): string {
  const known = values.filter((v): v is number => v !== null);
  if (known.length < 2) return "";
  const low = top === undefined ? Math.min(...known) : 0;
  const high = Math.max(top ?? -Infinity, ...known);
  const span = high - low || 1;
  const step = width / (values.length - 1);
  let path = "";
  let pen = "M";
  values.forEach((v, i) => {
    if (v === null) {
      pen = "M";
      return;
    }
    const y = high === low ? height / 2 : height - ((v - low) / span) * height;
    path += `${pen}${(i * step).toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
  });
  return path;
}
