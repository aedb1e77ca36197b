// Signing in, and which page is shown.

import { ask, get, isSignedIn, keep } from "./api.js";
import { el, field, guarded, say } from "./parts.js";
import { auditPage } from "./audit.js";
import { emergenciesPage } from "./emergencies.js";
import { holdsPage } from "./holds.js";
import { rolesPage } from "./roles.js";
import { roomPage, roomsPage } from "./rooms.js";

const LOGIN = "/_matrix/client/v3/login";
const PAGES = [
  ["rooms", "Rooms", (room) => (room ? roomPage(room) : roomsPage())],
  ["roles", "Roles", rolesPage],
  ["emergencies", "Emergencies", emergenciesPage],
  ["holds", "Holds", holdsPage],
  ["audit", "Audit", auditPage],
];

const content = document.getElementById("content");
const nav = document.getElementById("nav");
const signOut = document.getElementById("sign-out");
nav.append(...PAGES.map(([name, title]) => el("a", { href: `#/${name}` }, title)));

function place() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  return [PAGES.find(([known]) => known === name) ?? PAGES[0], rest.map(decodeURIComponent).join("/")];
}

async function show() {
  if (location.hash === "#content") return;
  nav.hidden = signOut.hidden = !isSignedIn();
  if (!isSignedIn()) return showSignIn();
  const [[name, title, page], detail] = place();
  for (const link of nav.children) {
    if (link.getAttribute("href") === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${title} - Wardroom`;
  say("Loading...");
  try {
    const made = await page(detail);
    if (place()[0][0] !== name || place()[1] !== detail) return;
    content.replaceChildren(...[made].flat());
    say("");
  } catch (error) {
    content.replaceChildren(el("h1", {}, title));
    say(error.message, true);
  }
  content.focus({ preventScroll: true });
}

async function enter(body) {
  const { access_token } = await ask("POST", LOGIN, { body: { ...body, initial_device_display_name: "Wardroom console" } });
  keep(access_token);
  await show();
}

async function showSignIn() {
  document.title = "Sign in - Wardroom";
  const { flows } = await get(LOGIN).catch((error) => { say(error.message, true); return { flows: [] }; });
  const offers = (type) => flows.some((flow) => flow.type === type);
  const name = el("input", { name: "user", autocomplete: "username", required: true, autocapitalize: "none" });
  const password = el("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
  const submit = guarded(() => enter({
    type: "m.login.password",
    identifier: { type: "m.id.user", user: name.value.trim() },
    password: password.value,
  }));
  const here = new URL(location.pathname, location.origin).href;
  const sso = `/_matrix/client/v3/login/sso/redirect?redirectUrl=${encodeURIComponent(here)}`;
  content.replaceChildren(el("div", { className: "card narrow" },
    el("h1", {}, "Sign in"),
    el("p", { className: "soft" }, "For administrators of this server."),
    offers("m.login.password") && el("form", { onsubmit: submit },
      field("User", name), field("Password", password), el("button", { type: "submit" }, "Sign in")),
    offers("m.login.sso") && el("p", {}, el("a", { href: sso }, "Sign in with single sign-on"))));
  if (offers("m.login.password")) name.focus();
}

// What single sign-on brings back is used once and leaves the address.
async function takeLoginToken() {
  const asked = new URLSearchParams(location.search);
  const token = asked.get("loginToken");
  if (token === null) return;
  history.replaceState(null, "", location.pathname + location.hash);
  await enter({ type: "m.login.token", token }).catch((error) => say(error.message, true));
}

signOut.addEventListener("click", guarded(async () => {
  await ask("POST", "/_matrix/client/v3/logout", { body: {} });
  keep(null);
  await show();
}));
addEventListener("hashchange", show);
addEventListener("signed-out", show);
await takeLoginToken();
await show();
