// The console in a real browser, as an administrator uses it.
//
//     node scenario.mjs BASE_URL BROWSER SCREENSHOTS
//
// Prints a line for each step; ends at the first that fails, with what was expected, and exit status 1.

import { createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [base, executablePath, screenshots] = process.argv.slice(2);
const CONSOLE = `${base}/_wardroom/admin/`;
const SECRET = "a secret of the tests";
const PASSWORD = "correct horse battery staple";
const PHONE = { width: 360, height: 740 };
const DESK = { width: 1280, height: 900 };
// WCAG 2.1, 1.4.3: the least contrast of text.
const CONTRAST_MIN = 4.5;

function expect(condition, sentence) {
    if (!condition) throw new Error(sentence);
}

async function matrix(method, path, token, body) {
    const response = await fetch(base + path, {
        method,
        headers: { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(30_000),
    });
    const answer = await response.json();
    expect(response.ok, `${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
}

async function register(username, admin) {
    const path = "/_synapse/admin/v1/register";
    const { nonce } = await matrix("GET", path);
    const mac = createHmac("sha1", SECRET).update([nonce, username, PASSWORD, admin ? "admin" : "notadmin"].join("\0")).digest("hex");
    return matrix("POST", path, undefined, { nonce, username, password: PASSWORD, admin, mac });
}

const own = (...parts) => `/_wardroom/admin/v1/${parts.map(encodeURIComponent).join("/")}`;

// What the pages are about.
async function furnish() {
    const [chief, deputy] = [await register("chief", true), await register("deputy", true)];
    const [alice, doctor, visitor] = [await register("alice"), await register("doctor"), await register("visitor")];
    const give = (user, role) => matrix("PUT", own("role_bindings", user), chief.access_token, { roles: [{ role, reason: "on duty" }] });
    await give(alice.user_id, "physician@h1");
    await give(doctor.user_id, "clinician@h1");
    const { room_id: room } = await matrix("POST", "/_matrix/client/v3/createRoom", alice.access_token,
        { name: "Ward 7", topic: "Cardiology", preset: "public_chat" });
    for (const guest of [doctor, visitor]) {
        await matrix("POST", `/_matrix/client/v3/join/${encodeURIComponent(room)}`, guest.access_token, {});
    }
    return { chief, deputy, alice, doctor, visitor, room };
}

const world = await furnish();
const { chief, deputy, alice, doctor, visitor, room } = world;
const browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu"],
    env: { ...process.env, LD_LIBRARY_PATH: process.env.LD_LIBRARY_PATH_OF_BROWSER },
});
const context = await browser.newContext({ viewport: DESK, acceptDownloads: true });
const page = await context.newPage();
page.setDefaultTimeout(20_000);
const complaints = [];
page.on("console", (message) => {
    // What the server refuses is shown on the page; the browser lists it as well.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) complaints.push(message.text());
});
page.on("pageerror", (error) => complaints.push(error.message));
page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    if (!["data:", "blob:"].includes(protocol) && origin !== new URL(base).origin) complaints.push(`asked ${origin}`);
});
page.on("dialog", (dialog) => dialog.accept());

const picture = (name) => page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
const status = (text) => page.locator("#status", { hasText: text }).waitFor();
const heading = (text) => page.getByRole("heading", { level: 1, name: text }).waitFor();
const goTo = async (name) => {
    await page.getByRole("navigation", { name: "Parts of the console" }).getByRole("link", { name, exact: true }).click();
};

async function signIn(user, password) {
    await page.getByLabel("User").fill(user);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign in" }).click();
}

async function a_wrong_password_is_refused() {
    await page.goto(CONSOLE);
    await heading("Sign in");
    await signIn("chief", "wrong");
    await page.locator("#status.bad").waitFor();
    await picture("sign-in");
}

async function who_is_no_administrator_sees_nothing() {
    await signIn("visitor", PASSWORD);
    await status("You are no administrator of this server.");
    await page.getByRole("button", { name: "Sign out" }).click();
    await heading("Sign in");
}

async function an_administrator_signs_in_by_keyboard() {
    await page.goto(CONSOLE);
    await heading("Sign in");
    // The first field has the focus.
    await page.keyboard.type("chief");
    await page.keyboard.press("Tab");
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press("Enter");
    await heading("Rooms");
    await page.reload();
    await heading("Rooms");
    await page.keyboard.press("Tab");
    const reached = await page.evaluate(() => document.activeElement.getAttribute("name"));
    expect(reached === "term", `Tab reaches ${reached} first in the page`);
}

async function rooms_are_found_and_shown() {
    await page.getByLabel("Name, alias or id").fill("Ward");
    await page.keyboard.press("Enter");
    await page.getByRole("link", { name: "Ward 7" }).click();
    await heading("Ward 7");
    await page.getByText(visitor.user_id).waitFor();
    await page.getByText("The room requires no role.").waitFor();
    await picture("room");
}

async function a_dry_run_changes_nothing() {
    await page.getByLabel("Required roles").fill("physician@h1\nsurgeon@h1 + clinician@h1");
    await page.getByText("Other settings").click();
    await page.getByLabel("As JSON").fill(JSON.stringify({
        version: 1,
        break_glass: { enabled: true, who: { any_of: [{ all_of: ["clinician@h1"] }] }, reasons: ["ETREAT"] },
    }));
    await page.getByRole("button", { name: "Dry run" }).click();
    await page.getByText("1 may stay, 1 may not, of 1 it is not known").waitFor();
    await picture("dry-run");
    const { joined } = await matrix("GET", `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/joined_members`, alice.access_token);
    expect(Object.keys(joined).length === 3, "the dry run put somebody out");
}

async function a_broken_policy_names_what_is_wrong() {
    const rest = page.getByLabel("As JSON");
    const good = await rest.inputValue();
    await rest.fill("{");
    await page.getByRole("button", { name: "Put into force" }).click();
    await status("Other settings:");
    await rest.fill(JSON.stringify({ version: 1, invite: "sometimes" }));
    await page.getByRole("button", { name: "Put into force" }).click();
    await status("invite");
    await rest.fill(good);
}

async function a_policy_is_put_into_force() {
    await page.getByRole("button", { name: "Put into force" }).click();
    await status("The policy is in force.");
    await page.getByText("The room requires roles.").waitFor();
    const gone = async () => {
        const { joined } = await matrix("GET", `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/joined_members`, alice.access_token);
        return !(doctor.user_id in joined);
    };
    for (let tries = 0; !(await gone()); tries += 1) {
        expect(tries < 200, "nobody was put out");
        await new Promise((resolve) => { setTimeout(resolve, 100); });
    }
}

async function roles_have_holders() {
    await goTo("Roles");
    await page.getByRole("link", { name: "clinician@h1" }).click();
    await heading("clinician@h1");
    await page.getByText(doctor.user_id).waitFor();
    await picture("role");
}

async function an_emergency_is_reviewed() {
    const path = `/_matrix/client/unstable/org.wardroom/v1/rooms/${encodeURIComponent(room)}/break_glass`;
    await matrix("POST", path, doctor.access_token, { reason_code: "ETREAT", reason_text: "cardiac arrest in bed 4" });
    await goTo("Emergencies");
    await page.getByRole("link", { name: "Going on" }).click();
    await page.getByText("ETREAT: cardiac arrest in bed 4").waitFor();
    await page.getByRole("button", { name: "End it now" }).click();
    await page.getByLabel("Verdict").selectOption("justified");
    await page.getByLabel("Note").fill("The patient lives.");
    await picture("emergency");
    await page.getByRole("button", { name: "Keep the review" }).click();
    await status("The review is kept.");
    await page.getByRole("link", { name: "Waiting for review" }).click();
    await page.getByText("There is none.").waitFor();
    await page.getByRole("link", { name: "All", exact: true }).click();
    await page.getByText(`${chief.user_id}: The patient lives.`).waitFor();
}

async function a_hold_is_set_and_released_by_two() {
    await goTo("Holds");
    await page.getByText("Nothing is held.").waitFor();
    await page.getByText("Hold something").click();
    await page.getByLabel("Its id").fill(room);
    await page.getByLabel("Reason").fill("a complaint");
    await page.getByLabel("Authority").fill("Court of Bonn, 7 O 12/26");
    await page.getByRole("button", { name: "Hold", exact: true }).click();
    await status("It is held.");
    await page.getByText("in force").waitFor();
    await picture("hold");
    await goTo("Rooms");
    await page.getByRole("link", { name: "Ward 7" }).click();
    await page.getByText("under legal hold").waitFor();
    await goTo("Holds");
    await page.getByLabel("Why it is released").fill("settled");
    await page.getByRole("button", { name: "Release" }).click();
    await status("Somebody else has to release it as well.");
    await page.getByText("release asked for", { exact: true }).waitFor();
    const { holds } = await matrix("GET", own("holds"), deputy.access_token);
    await matrix("DELETE", own("holds", holds[0].id), deputy.access_token, { reason: "settled" });
    await goTo("Rooms");
    await goTo("Holds");
    await page.getByText("released", { exact: true }).waitFor();
}

async function the_audit_trail_is_searched() {
    await goTo("Audit");
    await page.getByLabel("What, such as login").fill("emergency.begin");
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByRole("cell", { name: "emergency.begin" }).waitFor();
    await page.getByRole("img", { name: /Records per hour: 1 in all/ }).waitFor();
    await page.getByText("As a table").click();
    await picture("audit");
    await page.getByLabel("User").fill("@nobody:hospital-a.example");
    await page.keyboard.press("Enter");
    await page.getByText("No record was found.").waitFor();
    await page.getByText("Nothing happened.").waitFor();
    await page.getByLabel("User").fill("");
}

async function text_of(download) {
    return readFile(await download.path(), "utf8");
}

async function records_are_exported() {
    let begun = page.waitForEvent("download");
    await page.getByRole("button", { name: "Export as CSV" }).click();
    const csv = await text_of(await begun);
    expect(csv.includes("emergency.begin") && !csv.includes("login"), `the table has other records: ${csv}`);
    begun = page.waitForEvent("download");
    await page.getByRole("button", { name: "Export as FHIR" }).click();
    const events = (await text_of(await begun)).trim().split("\n").map((line) => JSON.parse(line));
    await page.getByText("The file is exported.").waitFor();
    expect(events.length > 10 && events.every((event) => event.resourceType === "AuditEvent"), "no audit events");
}

const luminance = ([red, green, blue]) => {
    const linear = (value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
};

function contrast(one, other) {
    const [bright, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (bright + 0.05) / (dark + 0.05);
}

// In the page: what every control is called, how wide the page is, which colours its texts have.
const survey = () => page.evaluate(() => {
    const seen = (element) => element.getClientRects().length > 0;
    const controls = [...document.querySelectorAll("button, input, select, textarea, a")].filter(seen);
    const name = (control) => control.textContent.trim() || control.getAttribute("aria-label") || control.labels?.[0]?.textContent || "";
    const rgb = (colour) => colour.match(/[\d.]+/g).map(Number);
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = rgb(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour.slice(0, 3);
        }
        return [255, 255, 255];
    };
    const texts = [...document.querySelectorAll("body *")].filter((element) =>
        seen(element) && [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()));
    return {
        nameless: controls.filter((control) => name(control) === "").map((control) => control.outerHTML),
        overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        colours: texts.map((element) => [element.textContent.trim().slice(0, 40), rgb(getComputedStyle(element).color).slice(0, 3), behind(element)]),
        headings: document.querySelectorAll("h1").length,
    };
});

async function every_page_is_readable() {
    for (const scheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme: scheme });
        for (const name of ["Rooms", "Roles", "Emergencies", "Holds", "Audit"]) {
            await page.setViewportSize(scheme === "dark" ? PHONE : DESK);
            await goTo(name);
            await page.waitForLoadState("networkidle");
            const { nameless, overflow, colours, headings } = await survey();
            expect(nameless.length === 0, `${name}: controls without a name: ${nameless.join("\n")}`);
            expect(overflow <= 0, `${name} is ${overflow} pixels too wide in ${scheme}`);
            expect(headings === 1, `${name} has ${headings} main headings`);
            const faint = colours.filter(([, text, back]) => contrast(text, back) < CONTRAST_MIN);
            expect(faint.length === 0, `${name}, ${scheme}: faint: ${JSON.stringify(faint)}`);
            await picture(`${name.toLowerCase()}-${scheme}`);
        }
    }
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize(DESK);
}

async function signing_out_ends_the_session() {
    await page.getByRole("button", { name: "Sign out" }).click();
    await heading("Sign in");
    await page.goto(`${CONSOLE}#/audit`);
    await heading("Sign in");
}

async function nothing_foreign_was_loaded_and_nothing_broke() {
    expect(complaints.length === 0, complaints.join("\n"));
    const { headers } = await fetch(CONSOLE);
    expect(headers.get("content-security-policy").startsWith("default-src 'none'"), "no content security policy");
}

const STEPS = [
    a_wrong_password_is_refused, who_is_no_administrator_sees_nothing, an_administrator_signs_in_by_keyboard, rooms_are_found_and_shown,
    a_dry_run_changes_nothing, a_broken_policy_names_what_is_wrong, a_policy_is_put_into_force, roles_have_holders, an_emergency_is_reviewed,
    a_hold_is_set_and_released_by_two,
    the_audit_trail_is_searched, records_are_exported, every_page_is_readable, signing_out_ends_the_session, nothing_foreign_was_loaded_and_nothing_broke,
];

let failed = false;
for (const step of STEPS) {
    const name = step.name.replaceAll("_", " ");
    const began = performance.now();
    try {
        await step();
        console.log(`ok ${name} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
    } catch (error) {
        failed = true;
        console.log(`FAILED ${name}: ${error.message}`);
        await picture("failed").catch(() => {});
        break;
    }
}
await browser.close();
process.exit(failed ? 1 : 0);
