// The audit trail: search, activity over time, export.

import { OWN, get, save, send } from "./api.js";
import { bars } from "./chart.js";
import { el, field, guarded, msOf, pages, say, table, when } from "./parts.js";

const DAY_MS = 24 * 60 * 60 * 1000;
const FHIR = "/_wardroom/fhir/";
const OUTCOMES = { 0: "done", 4: "refused", 8: "forbidden", 12: "failed" };

const who = ({ who: { user, server, service, as } }) => [user ?? server ?? service ?? "this server", as && `as ${as}`].filter(Boolean).join(" ");
const what = ({ on }) => [on.user, on.room, on.event, on.media, on.name, on.kind ?? on.type, on.detail, on.servers?.join(", "), on.count && `${on.count} times`]
  .filter(Boolean).join(" · ");

function conditions() {
  const user = el("input", { name: "user", autocapitalize: "none" });
  const room = el("input", { name: "room", autocapitalize: "none" });
  const act = el("input", { name: "act", autocapitalize: "none" });
  const from = el("input", { type: "datetime-local", name: "from" });
  const to = el("input", { type: "datetime-local", name: "to" });
  const fields = [field("User", user), field("Room", room), field("What, such as login", act), field("From", from), field("Until", to)];
  const query = () => ({ user_id: user.value.trim(), room_id: room.value.trim(), act: act.value.trim(), from_ts: msOf(from), to_ts: msOf(to) });
  return { fields, query };
}

export function auditPage() {
  const { fields, query } = conditions();
  const list = el("div");
  const chart = el("div");
  const search = () => {
    const asked = query();
    list.replaceChildren(pages(async (after) => {
      const { records, next } = await get(`${OWN}audit/records`, { ...asked, after, dir: "b", limit: 100 });
      const rows = records.map(({ number, record }) => [String(number), when(record.at), who(record), record.act, OUTCOMES[record.outcome], what(record)]);
      return { nodes: [table("Records, the newest first", ["Number", "When", "Who", "What", "How it went", "To what"], rows, "No record was found.")], next };
    }));
    return activity(asked, chart);
  };
  guarded(search)();
  return [
    el("h1", {}, "Audit trail"),
    el("form", { className: "row card", role: "search", onsubmit: guarded(search) }, fields, el("button", { type: "submit" }, "Search")),
    el("section", { className: "card" }, el("h2", {}, "Activity"), chart),
    el("section", { className: "card" }, el("h2", {}, "Export"), exportPart(query)),
    list,
  ];
}

async function activity(asked, chart) {
  const to = asked.to_ts ?? Date.now();
  const from = asked.from_ts ?? to - 7 * DAY_MS;
  const step = to - from > 7 * DAY_MS ? "day" : "hour";
  const { buckets } = await get(`${OWN}audit/activity`, { user_id: asked.user_id, room_id: asked.room_id, from_ts: from, to_ts: Math.max(to, from + 1), step });
  const counted = ({ counts }) => (asked.act ? counts[asked.act] ?? 0 : Object.values(counts).reduce((sum, count) => sum + count, 0));
  chart.replaceChildren(bars(step === "hour" ? "Records per hour" : "Records per day",
    buckets.map((bucket) => [new Date(bucket.from_ts).toLocaleString(), counted(bucket)])));
}

function exportPart(query) {
  const progress = el("progress", { hidden: true, max: 100, "aria-label": "Progress of the export" });
  const told = el("p", { className: "soft", "aria-live": "polite" });
  const csv = guarded(async () => {
    const answer = await send("GET", `${OWN}audit/export`, { query: { ...query(), format: "csv" } });
    save("audit.csv", await answer.blob());
    say("The export is complete.");
  });
  const fhir = guarded(async () => {
    progress.hidden = false;
    try {
      await bulk(query(), progress, told);
    } finally {
      progress.hidden = true;
    }
  });
  return el("div", {},
    el("p", { className: "soft" }, "Every export leaves a record. FHIR takes the time from the fields above, CSV all of them."),
    el("div", { className: "buttons" }, el("button", { type: "button", className: "main", onclick: fhir }, "Export as FHIR"),
      el("button", { type: "button", onclick: csv }, "Export as CSV")),
    progress, told);
}

const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });

// FHIR Bulk Data: the server prepares files, says how far it is, and hands them out one by one.
async function bulk({ from_ts }, progress, told) {
  const query = { _type: "AuditEvent", _since: from_ts && new Date(from_ts).toISOString() };
  const begun = await send("GET", `${FHIR}$export`, { query, headers: { Prefer: "respond-async", Accept: "application/fhir+json" } });
  const job = new URL(begun.headers.get("content-location"), location.origin).pathname;
  let answer = await send("GET", job, {});
  while (answer.status === 202) {
    told.textContent = answer.headers.get("x-progress") ?? "";
    progress.value = Number.parseFloat(told.textContent) || 0;
    await pause(Math.min(10, Number(answer.headers.get("retry-after")) || 1));
    answer = await send("GET", job, {});
  }
  const { output } = await answer.json();
  for (const [index, file] of output.entries()) {
    told.textContent = `File ${index + 1} of ${output.length}`;
    progress.value = (100 * index) / output.length;
    const { pathname, search } = new URL(file.url, location.origin);
    save(`AuditEvent-${index + 1}.ndjson`, await (await send("GET", pathname + search, {})).blob());
  }
  told.textContent = output.length === 1 ? "The file is exported." : `${output.length} files are exported.`;
  await send("DELETE", job, {});
}
