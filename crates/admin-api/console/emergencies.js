// Emergency access: what goes on, and what waits for its review.

import { OWN, ask, at, get } from "./api.js";
import { el, facts, field, guarded, pages, say, tag, when } from "./parts.js";

const FILTERS = [
  ["unreviewed", "Waiting for review", { open: false, reviewed: false }],
  ["open", "Going on", { open: true }],
  ["all", "All", {}],
];

export function emergenciesPage(wanted) {
  const [name, , conditions] = FILTERS.find(([known]) => known === wanted) ?? FILTERS[0];
  const tabs = FILTERS.map(([known, title]) =>
    el("a", { href: `#/emergencies/${known}`, "aria-current": known === name ? "true" : undefined }, title));
  const list = pages(async (from) => {
    const page = await get(`${OWN}break_glass`, { ...conditions, from, limit: 50 });
    const none = from === undefined && page.emergencies.length === 0;
    return { nodes: none ? [el("p", { className: "soft" }, "There is none.")] : page.emergencies.map(card), next: page.next_token };
  });
  return [el("h1", {}, "Emergency access"), el("nav", { "aria-label": "Which ones" }, tabs), list];
}

function card(one) {
  const whole = el("article", { className: "card", "aria-label": `Emergency access ${one.id}` });
  const again = (fresh) => whole.replaceChildren(...inside(fresh, again));
  again(one);
  return whole;
}

function inside(one, again) {
  const path = `${OWN}break_glass/${at([one.id])}`;
  const end = guarded(async () => {
    again(await ask("POST", `${path}/end`, { body: {} }));
    say("The emergency access has ended.");
  });
  return [
    el("h2", {}, `${one.user_id} `, one.ended_ts ? tag("ended") : tag("going on", "warn"),
      one.review && tag(one.review.verdict === "justified" ? "justified" : "not justified", one.review.verdict === "justified" ? "good" : "bad")),
    facts([
      ["Room", el("a", { href: `#/rooms/${encodeURIComponent(one.room_id)}` }, one.room_id)], ["Reason", `${one.reason_code}: ${one.reason_text}`],
      ["Patient", one.patient_ref], ["Began", when(one.began_ts)], ["Until", when(one.ended_ts ?? one.expires_ts)], ["Ended because", one.ended_why],
      ["Review", one.review && `${one.review.by}: ${one.review.note}`],
    ].filter(([, value]) => value)),
    !one.ended_ts && el("div", { className: "buttons" }, el("button", { type: "button", className: "danger", onclick: end }, "End it now")),
    one.ended_ts && !one.review && reviewForm(path, again),
  ].filter(Boolean);
}

function reviewForm(path, again) {
  const verdict = el("select", { name: "verdict" }, el("option", { value: "justified" }, "Justified"), el("option", { value: "not_justified" }, "Not justified"));
  const note = el("textarea", { name: "note" });
  const submit = guarded(async () => {
    again(await ask("POST", `${path}/review`, { body: { verdict: verdict.value, note: note.value } }));
    say("The review is kept.");
  });
  return el("form", { onsubmit: submit }, field("Verdict", verdict), field("Note", note), el("button", { type: "submit" }, "Keep the review"));
}
