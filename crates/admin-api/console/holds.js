// Legal holds: what must not be deleted, and why.

import { OWN, ask, at, get } from "./api.js";
import { el, facts, field, guarded, msOf, pages, say, tag, when } from "./parts.js";

const SCOPES = [["room_id", "Room"], ["user_id", "User"], ["media", "File (mxc)"]];

export function holdsPage() {
  const list = el("div");
  const show = () => list.replaceChildren(pages(async (from) => {
    const { holds, next_token } = await get(`${OWN}holds`, { from, limit: 50, state: "all" });
    const none = from === undefined && holds.length === 0;
    return { nodes: none ? [el("p", { className: "soft" }, "Nothing is held.")] : holds.map((hold) => card(hold, show)), next: next_token };
  }));
  show();
  return [el("h1", {}, "Legal holds"), newHold(show), el("h2", {}, "Holds"), list];
}

function newHold(show) {
  const kind = el("select", { name: "kind" }, SCOPES.map(([value, title]) => el("option", { value }, title)));
  const what = el("input", { name: "what", autocapitalize: "none" });
  const [from, to, expires] = ["from", "to", "expires"].map((name) => el("input", { type: "datetime-local", name }));
  const reason = el("input", { name: "reason", required: true });
  const authority = el("input", { name: "authority", required: true });
  const submit = guarded(async (event) => {
    const form = event.currentTarget ?? event.target;
    const scope = { from_ts: msOf(from), to_ts: msOf(to) };
    if (what.value.trim() !== "") scope[kind.value] = what.value.trim();
    await ask("POST", `${OWN}holds`, { body: { scope, reason: reason.value, authority: authority.value, expires_ts: msOf(expires) } });
    form.reset();
    show();
    say("It is held.");
  });
  return el("details", { className: "card" }, el("summary", {}, "Hold something"),
    el("form", { onsubmit: submit },
      field("What", kind), field("Its id", what, "Empty for everything in a span of time."),
      field("Written from", from), field("Written until", to), field("Reason", reason), field("Authority", authority, "Who ordered it, and under which number."),
      field("Ends by itself", expires), el("button", { type: "submit" }, "Hold")));
}

function card(hold, show) {
  const { scope } = hold;
  const named = SCOPES.filter(([key]) => scope[key]).map(([key, title]) => [title, scope[key]]);
  const reason = el("input", { name: "release", required: true });
  const release = guarded(async () => {
    const answer = await ask("DELETE", `${OWN}holds/${at([hold.id])}`, { body: { reason: reason.value } });
    show();
    say(answer.released_ts ? "The hold is released." : "Somebody else has to release it as well.");
  });
  return el("article", { className: "card", "aria-label": `Hold ${hold.id}` },
    el("h2", {}, hold.authority, " ", hold.released_ts ? tag("released") : tag("in force", "good"), hold.release_requested_by && tag("release asked for", "warn")),
    facts([...named, ["From", when(scope.from_ts)], ["Until", when(scope.to_ts)], ["Reason", hold.reason], ["Set by", hold.created_by],
      ["Set at", when(hold.created_ts)], ["Ends", when(hold.expires_ts)], ["Released", when(hold.released_ts)],
      ["Release asked for by", hold.release_requested_by]].filter(([, value]) => value)),
    !hold.released_ts && el("form", { onsubmit: release },
      field("Why it is released", reason, "What is due may be deleted at once then."),
      el("button", { type: "submit", className: "danger" }, "Release")));
}
