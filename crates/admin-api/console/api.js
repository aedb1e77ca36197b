// Requests to the server, with the token of the session.

const KEPT = "wardroom.token";
export const OWN = "/_wardroom/admin/v1/";
export const SYNAPSE = "/_synapse/admin/";

let token = sessionStorage.getItem(KEPT);

export const isSignedIn = () => token !== null;

export function keep(fresh) {
  token = fresh;
  if (fresh === null) sessionStorage.removeItem(KEPT);
  else sessionStorage.setItem(KEPT, fresh);
}

// What the server refused, in its own words.
export class Refused extends Error {
  constructor(status, body) {
    const issue = body?.issue?.[0];
    super(body?.error ?? issue?.diagnostics ?? issue?.details?.text ?? `The server answered ${status}.`);
    this.status = status;
    this.errcode = body?.errcode;
  }
}

export const at = (parts) => parts.map(encodeURIComponent).join("/");

export async function send(method, path, { body, query, headers } = {}) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of [value].flat()) if (one !== undefined && one !== null && one !== "") url.searchParams.append(name, one);
  }
  const sent = { ...headers };
  if (token !== null) sent.Authorization = `Bearer ${token}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(url, { method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new Error("The server cannot be reached.");
  }
  if (answer.ok) return answer;
  const refused = new Refused(answer.status, await answer.json().catch(() => null));
  if (answer.status === 401 && refused.errcode === "M_UNKNOWN_TOKEN") {
    keep(null);
    dispatchEvent(new Event("signed-out"));
  }
  throw refused;
}

export const ask = async (method, path, options) => (await send(method, path, options)).json();
export const get = (path, query) => ask("GET", path, { query });

// Has the browser save what was received.
export function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
