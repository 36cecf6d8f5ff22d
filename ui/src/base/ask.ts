/** Asking the server: JSON, and a refusal in the server's own words. */

export class Refusal extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** The answer as JSON. Throws a Refusal that says what is wrong; status 0: there is no server. */
export async function ask<T>(url: string, options: RequestInit = {}): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(url, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Refusal("MarketPulse does not answer", 0);
  }
  const body: unknown = await answer.json().catch(() => null);
  if (answer.ok) return body as T;
  const said = typeof body === "object" && body !== null && "error" in body ? String(body.error) : `status ${answer.status}`;
  throw new Refusal(said, answer.status);
}

export function post<T>(url: string, body: unknown): Promise<T> {
  return ask<T>(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}
