/** A squarified treemap (Bruls, Huizing and van Wijk, 2000): areas as the weights, tiles as square as they can be. */

export interface Tile {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** One tile for each weight, in their order; weights are above 0, best given from the largest to the smallest. */
export function squarify(weights: readonly number[], width: number, height: number): Tile[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (total <= 0 || width <= 0 || height <= 0) return weights.map(() => ({ x: 0, y: 0, width: 0, height: 0 }));
  const areas = weights.map((weight) => (weight / total) * width * height);
  const tiles: Tile[] = [];
  const free = { x: 0, y: 0, width, height };
  let first = 0;
  while (first < areas.length) {
    const side = Math.min(free.width, free.height);
    let end = first + 1;
    let sum = areas[first]!;
    let worst = squareness(areas[first]!, areas[first]!, sum, side);
    while (end < areas.length) {
      // the row's largest and smallest tile decide: the weights fall
      const next = squareness(areas[first]!, areas[end]!, sum + areas[end]!, side);
      if (next > worst) break;
      worst = next;
      sum += areas[end]!;
      end += 1;
    }
    placeRow(areas.slice(first, end), sum, free, tiles);
    first = end;
  }
  return tiles;
}

/** The worse ratio of sides in a row of tiles along `side`: 1 is a square. */
function squareness(largest: number, smallest: number, sum: number, side: number): number {
  const square = sum * sum;
  return Math.max((side * side * largest) / square, square / (side * side * smallest));
}

function placeRow(areas: readonly number[], sum: number, free: Tile, tiles: Tile[]): void {
  const upright = free.width >= free.height; // the row stands at the left, else it lies on top
  const depth = sum / (upright ? free.height : free.width);
  let at = 0;
  for (const area of areas) {
    const length = area / depth;
    tiles.push(
      upright
        ? { x: free.x, y: free.y + at, width: depth, height: length }
        : { x: free.x + at, y: free.y, width: length, height: depth },
    );
    at += length;
  }
  if (upright) {
    free.x += depth;
    free.width = Math.max(0, free.width - depth);
  } else {
    free.y += depth;
    free.height = Math.max(0, free.height - depth);
  }
}

/** The tile that an arrow key leads to: the nearest one that lies that way, by the centres; -1: there is none. */
export function neighbour(tiles: readonly Tile[], from: number, key: string): number {
  const here = tiles[from];
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  if (!here || !way) return -1;
  const [dx, dy] = way as [number, number];
  let best = -1;
  let least = Infinity;
  tiles.forEach((tile, i) => {
    const right = tile.x + tile.width / 2 - here.x - here.width / 2;
    const down = tile.y + tile.height / 2 - here.y - here.height / 2;
    const along = right * dx + down * dy;
    const edge = dx > 0 ? tile.x - here.x - here.width : dx < 0 ? here.x - tile.x - tile.width : dy > 0 ? tile.y - here.y - here.height : here.y - tile.y - tile.height;
    if (i === from || along <= 0 || edge < -0.5) return;
    const distance = along + 3 * Math.abs(right * dy + down * dx);
    if (distance < least) [best, least] = [i, distance];
  });
  return best;
}

/** The tile under a point; -1: none. */
export function tileAt(tiles: readonly Tile[], x: number, y: number): number {
  return tiles.findIndex((t) => x >= t.x && x < t.x + t.width && y >= t.y && y < t.y + t.height);
}
