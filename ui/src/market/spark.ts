/** A spark-line, in the colour of the way from its first close to its last. */

import { set } from "../base/dom.ts";
import { linePath } from "../base/path.ts";
import type { Spark } from "../live/protocol.ts";

export function drawSpark(path: SVGPathElement, spark: Spark | undefined, size: { width: number; height: number }): void {
  set(path, "d", spark ? linePath(spark.closes, size.width, size.height) : "");
  const ends = spark && spark.closes.length > 1 ? spark.closes.at(-1)! - spark.closes[0]! : 0;
  set(path, "class", ends > 0 ? "up" : ends < 0 ? "down" : "flat");
}
