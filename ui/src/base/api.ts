/** Questions to the server's REST API, and what it says when it cannot answer. */

/** What the server said was wrong, in words for people; `status` 0: it did not answer at all. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

type Value = string | number | boolean | null | undefined;

/** `ask("/api/bars", { symbol, limit: 10 })`; what is null or undefined is not asked. Raises Refused. */
export async function ask<T>(path: string, wish: Record<string, Value> = {}, signal?: AbortSignal): Promise<T> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(wish)) {
    if (value !== null && value !== undefined) query.set(name, String(value));
  }
  const text = query.toString();
  let answer: Response;
  try {
    answer = await fetch(text ? `${path}?${text}` : path, { headers: { accept: "application/json" }, ...(signal ? { signal } : {}) });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refused(0, "The server does not answer. Try again when the page is connected.");
  }
  const body: unknown = await answer.json().catch(() => null);
  if (!answer.ok) {
    const said = typeof body === "object" && body !== null && "error" in body ? String(body.error) : `The server answered ${answer.status}.`;
    throw new Refused(answer.status, said);
  }
  return body as T;
}
