/** Small helpers around the DOM. Text is always set as text. */

type Child = Node | string;

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, text] of Object.entries(attributes)) node.setAttribute(name, text);
  node.append(...children);
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: Node[]
): SVGElementTagNameMap[K] {
  const node = document.createElementNS(SVG, tag);
  for (const [name, text] of Object.entries(attributes)) node.setAttribute(name, text);
  node.append(...children);
  return node;
}

/** Set a text only when it changed, so that an idle page stays idle. */
export function say(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

export function set(node: Element, name: string, text: string): void {
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

export function byId(id: string): HTMLElement {
  const node = document.getElementById(id);
  if (!node) throw new Error(`index.html lacks #${id}`);
  return node;
}

export function remembered(name: string): string | null {
  try {
    return localStorage.getItem(`marketpulse.${name}`);
  } catch {
    return null; // storage is switched off: nothing is remembered
  }
}

export function remember(name: string, text: string): void {
  try {
    localStorage.setItem(`marketpulse.${name}`, text);
  } catch {
    // storage is switched off or full: the page works without
  }
}
