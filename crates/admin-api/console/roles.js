// Roles and who has them.

import { OWN, get } from "./api.js";
import { el, pages, table } from "./parts.js";

export async function rolesPage(role) {
  if (role) return holdersPage(role);
  const { roles } = await get(`${OWN}roles`);
  const rows = roles.map((one) => [
    el("a", { href: `#/roles/${encodeURIComponent(one.role)}` }, one.role), String(one.holders), one.space ? "yes" : "no",
  ]);
  return [el("h1", {}, "Roles"), table("Roles that somebody has now", ["Role", "Holders", "Is a space"], rows, "Nobody has a role.")];
}

function holdersPage(role) {
  const list = pages(async (from) => {
    const { users, next_token } = await get(`${OWN}role_holders`, { requirement: role, from, limit: 200 });
    return { nodes: [table(`Who has ${role}`, ["User"], users.map((user) => [user]), "Nobody has it.")], next: next_token };
  });
  return [el("p", {}, el("a", { href: "#/roles" }, "All roles")), el("h1", {}, role), list];
}
