// Rooms: who is in them, what they require, and what a policy would mean.

import { OWN, SYNAPSE, Refused, ask, at, get } from "./api.js";
import { el, facts, field, guarded, pages, say, table, tag } from "./parts.js";
import { retentionPart } from "./retention.js";

const PAGE = 50;
const VERDICTS = { compliant: ["may stay", "good"], nonCompliant: ["may not stay", "bad"], inconclusive: ["not known", "warn"] };

const roomLink = (id, name) => el("a", { href: `#/rooms/${encodeURIComponent(id)}` }, name || id);

export function roomsPage() {
  const term = el("input", { type: "search", name: "term" });
  const list = el("div");
  const search = () => {
    list.replaceChildren(pages(async (from) => {
      const found = await get(`${SYNAPSE}v1/rooms`, { from, limit: PAGE, search_term: term.value.trim(), order_by: "name" });
      const rows = found.rooms.map((room) => [
        roomLink(room.room_id, room.name ?? room.canonical_alias), String(room.joined_members), room.encryption ? "yes" : "no", room.join_rules ?? "",
      ]);
      return { nodes: [table(`Rooms, ${found.total_rooms} in all`, ["Room", "Members", "Encrypted", "Who may join"], rows, "No room was found.")],
        next: found.next_batch };
    }));
  };
  search();
  return [
    el("h1", {}, "Rooms"),
    el("form", { className: "row card", role: "search", onsubmit: guarded(search) },
      field("Name, alias or id", term), el("button", { type: "submit" }, "Search")),
    list,
  ];
}

export async function roomPage(id) {
  const room = await get(`${SYNAPSE}v1/rooms/${at([id])}`);
  return [
    el("h1", {}, room.name ?? room.canonical_alias ?? id),
    el("div", { className: "card" }, facts([
      ["Id", id], ["Topic", room.topic], ["Version", room.version], ["Created by", room.creator],
      ["Members", `${room.joined_members}, of them ${room.joined_local_members} of this server`], ["Who may join", room.join_rules],
      ["Encrypted", room.encryption ? "yes" : "no"],
    ])),
    await policyPart(id),
    await retentionPart(id),
    await membersPart(id),
  ];
}

async function membersPart(id) {
  const { members } = await get(`${SYNAPSE}v1/rooms/${at([id])}/members`);
  return el("section", { className: "card" }, el("h2", {}, "Members"), table(`${members.length} in the room`, ["User"], members.map((user) => [user])));
}

// One alternative for each line, roles that are needed together with a plus between them.
const linesOf = (policy) => (policy?.require?.any_of ?? []).map((one) => (one.all_of ?? []).join(" + ")).join("\n");
const requireOf = (text) => ({
  any_of: text.split("\n").map((line) => line.split("+").map((role) => role.trim()).filter(Boolean)).filter((roles) => roles.length > 0)
    .map((roles) => ({ all_of: roles })),
});

async function policyPart(id) {
  const path = `${OWN}rooms/${at([id])}/policy`;
  const known = await get(path).catch((error) => {
    if (error instanceof Refused && error.status === 404) return null;
    throw error;
  });
  const { require: _, ...others } = known?.policy ?? { version: 1 };
  const roles = el("textarea", { name: "roles", spellcheck: false, value: linesOf(known?.policy) });
  const rest = el("textarea", { name: "rest", spellcheck: false, value: JSON.stringify(others, null, 2) });
  const result = el("div", { "aria-live": "polite" });
  const policy = () => {
    let more;
    try {
      more = JSON.parse(rest.value);
    } catch (error) {
      throw new Error(`Other settings: ${error.message}`);
    }
    return { ...more, require: requireOf(roles.value) };
  };
  const dryRun = guarded(async () => {
    const { totals, results } = await ask("POST", `${path}/evaluate`, { body: { policy: policy() } });
    const rows = results.map((one) => [one.user_id, tag(...(VERDICTS[one.verdict] ?? [one.verdict])), one.roles.join(", "), one.reason]);
    const { compliant, nonCompliant, inconclusive } = totals;
    result.replaceChildren(el("p", {}, `${compliant} may stay, ${nonCompliant} may not, of ${inconclusive} it is not known. Nothing was changed.`),
      table("Dry run", ["User", "Verdict", "Roles", "Why"], rows));
  });
  const saveIt = guarded(async () => {
    await ask("PUT", path, { body: policy() });
    part.replaceWith(await policyPart(id));
    say("The policy is in force.");
  });
  const remove = guarded(async () => {
    if (!confirm("Let everybody in again whom the room's own rules let in?")) return;
    await ask("DELETE", path, {});
    part.replaceWith(await policyPart(id));
    say("The room requires no role any more.");
  });
  const part = el("section", { className: "card" },
    el("h2", {}, "Access policy"),
    el("p", {}, known ? "The room requires roles." : "The room requires no role.", known?.problem && el("strong", { className: "bad" }, ` ${known.problem}`)),
    el("form", { onsubmit: saveIt },
      field("Required roles", roles, "One alternative per line; roles that are needed together with a plus between them."),
      el("details", {}, el("summary", {}, "Other settings"), field("As JSON", rest)),
      el("div", { className: "buttons" },
        el("button", { type: "button", onclick: dryRun }, "Dry run"), el("button", { type: "submit" }, "Put into force"),
        known && el("button", { type: "button", className: "danger", onclick: remove }, "Remove the policy"))),
    result);
  return part;
}
