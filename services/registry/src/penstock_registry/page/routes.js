/** Where in the page we are: hash routes such as `#/streams/scope?range=24h`. */

/** Return the route that a hash names: the view, what follows it, and the query. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split(/\?(.*)/s);
  const [view = "", ...rest] = path.split("/").slice(1).map(decoded);
  return { view: view || "overview", name: rest.join("/"), query: Object.fromEntries(new URLSearchParams(query)) };
}

/** Return the hash of a route. What is empty in the query is left out. */
export function to(view, name = "", query = {}) {
  const path = [view === "overview" ? "" : view, name].filter(Boolean).map(encodeURIComponent).join("/");
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return `#/${path}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
