// What pages are made of. Text is only ever put in as text.

export function el(name, given = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made && key !== "list" && key !== "form") made[key] = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return made;
}

const status = document.getElementById("status");

export function say(text, bad = false) {
  status.textContent = text;
  status.className = bad ? "bad" : "";
}

// A function for events that says what went wrong, and lets nobody press twice.
export const guarded = (work) => async (event) => {
  event?.preventDefault();
  const buttons = event?.currentTarget?.querySelectorAll?.("button") ?? [];
  const pressed = event?.currentTarget instanceof HTMLButtonElement ? [event.currentTarget] : [...buttons];
  pressed.forEach((button) => { button.disabled = true; });
  say("");
  try {
    await work(event);
  } catch (error) {
    say(error.message, true);
  } finally {
    pressed.forEach((button) => { button.disabled = false; });
  }
};

export const field = (label, control, hint) => el("label", {}, label, hint && el("small", {}, hint), control);

export const tag = (text, mood) => el("span", { className: `tag ${mood ?? ""}` }, text);

// Rows are arrays of what stands in the cells.
export function table(caption, heads, rows, none = "There is nothing here.") {
  if (rows.length === 0) return el("p", { className: "soft" }, none);
  const cells = (row) => row.map((cell, index) => el(index === 0 ? "th" : "td", index === 0 ? { scope: "row" } : {}, cell ?? ""));
  return el("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": caption },
    el("table", {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, cells(row))))));
}

export const facts = (pairs) => el("dl", {}, pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value ?? "")]));

export const when = (ms) => (ms === undefined || ms === null ? "" : el("time", { dateTime: new Date(Number(ms)).toISOString() },
  new Date(Number(ms)).toLocaleString()));

// Milliseconds of a field of type datetime-local; undefined where it is empty.
export const msOf = (input) => (input.value === "" ? undefined : new Date(input.value).getTime());

// Pages of a list, one below the other: `load(from)` answers with nodes and with where the next page begins.
export function pages(load) {
  const shown = el("div");
  const more = el("button", { type: "button", hidden: true }, "Show more");
  let from;
  const next = guarded(async () => {
    const page = await load(from);
    shown.append(...page.nodes);
    from = page.next ?? undefined;
    more.hidden = from === undefined;
  });
  more.addEventListener("click", next);
  next();
  return el("div", {}, shown, more);
}
