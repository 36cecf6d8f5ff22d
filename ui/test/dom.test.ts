import assert from "node:assert/strict";
import { test } from "node:test";

import { say } from "../src/base/dom.ts";

test("what is said is set as text, never as markup", () => {
  const node = { textContent: "before" };
  say(node as unknown as Node, '<img src="x" onerror="steal()">');
  assert.deepEqual(node, { textContent: '<img src="x" onerror="steal()">' });
});

test("what is said already is not set again", () => {
  let times = 0;
  const node = { get textContent() { return "same"; }, set textContent(_: string) { times += 1; } };
  say(node as unknown as Node, "same");
  assert.equal(times, 0);
});
