/** What the registry is asked, and how it can refuse. */

const ANSWER_WITHIN_MS = 15_000;

/** The registry wants a login. */
export class LoginNeeded extends Error {}

/** Nobody answers, or nothing that is the registry's. */
export class Unreachable extends Error {}

/** The registry answered that it cannot: `message` says why, `status` is HTTP's. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** GET /api/v1/`path`. Values of the query that are lists are repeated, empty ones left out. */
export async function get(path, query = {}, signal = undefined) {
  const pairs = Object.entries(query).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  const given = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  const response = await ask(`/api/v1/${path}${given.length ? `?${new URLSearchParams(given)}` : ""}`, { signal });
  try {
    return await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable("what answers at this address is not the registry");
  }
}

/** Log in. Raises LoginNeeded if the token is not the right one. */
export async function login(form) {
  await ask("/login", { method: "POST", body: new URLSearchParams(new FormData(form)) });
}

/** Log out: the cookie is gone afterwards. */
export async function logout() {
  await ask("/logout", { method: "POST" });
}

async function ask(url, { signal, ...options }) {
  const deadline = AbortSignal.timeout(ANSWER_WITHIN_MS);
  let response;
  try {
    response = await fetch(url, { ...options, signal: signal ? AbortSignal.any([signal, deadline]) : deadline });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable("the registry does not answer");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const detail = typeof problem.detail === "string" ? problem.detail : `HTTP ${response.status}`;
  if (response.status === 401) throw new LoginNeeded(detail);
  if (response.status >= 500) throw new Unreachable(detail);
  throw new Refused(response.status, detail);
}
