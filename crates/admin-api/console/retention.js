// How long a room keeps what is written in it.

import { OWN, Refused, ask, at, get } from "./api.js";
import { el, facts, field, guarded, say, tag } from "./parts.js";

const DAY_MS = 24 * 60 * 60 * 1000;
const SOURCES = { server: "the server's default", override: "an administrator, for this room", room: "the room itself", template: "a template" };

const days = (ms) => (ms === undefined || ms === null ? "no limit" : `${Number((ms / DAY_MS).toFixed(2))} days`);
const msOfDays = (input) => (input.value === "" ? undefined : Math.round(Number(input.value) * DAY_MS));
const daysInput = (name, ms) => el("input", { type: "number", min: 0, step: "any", name, value: ms === undefined || ms === null ? "" : ms / DAY_MS });

export async function retentionPart(id) {
  const path = `${OWN}rooms/${at([id])}/retention`;
  const part = el("section", { className: "card" });
  const show = async () => part.replaceChildren(el("h2", {}, "Retention"), ...inside(path, await get(path), show));
  try {
    await show();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    part.replaceChildren(el("h2", {}, "Retention"), el("p", { className: "soft" }, error.message));
  }
  return part;
}

function inside(path, known, show) {
  const longest = daysInput("max", known.override?.max_lifetime);
  const shortest = daysInput("min", known.override?.min_lifetime);
  const set = guarded(async () => {
    await ask("PUT", path, { body: { max_lifetime: msOfDays(longest), min_lifetime: msOfDays(shortest) } });
    await show();
    say("The room's retention is set.");
  });
  const remove = guarded(async () => {
    await ask("DELETE", path, {});
    await show();
    say("The room follows its own rule again.");
  });
  return [
    facts([["Deleted after", days(known.max_lifetime)], ["Kept for at least", days(known.min_lifetime)], ["Decided by", SOURCES[known.source] ?? known.source]]),
    known.held && el("p", {}, tag("under legal hold", "warn"), " What the hold covers is not deleted."),
    el("details", {}, el("summary", {}, "Decide for this room"),
      el("form", { onsubmit: set },
        field("Delete after, in days", longest), field("Keep for at least, in days", shortest),
        el("div", { className: "buttons" }, el("button", { type: "submit" }, "Set"),
          known.override && el("button", { type: "button", className: "danger", onclick: remove }, "Leave it to the room")))),
  ].filter(Boolean);
}
