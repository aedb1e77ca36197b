// Single sign-on with an unmodified OpenID provider.
//
//     node scenario.mjs BASE_URL PUBLIC_URL CLINIC_PORT PARTNER_PORT
//
// Prints a line for each step; ends at the first that fails, with what was expected, and exit status 1. The providers
// "clinic" (RS256, secret in a header) and "partner" (ES256, secret in the body, multi-factor demanded) are configured in
// the server.

import { Browser, IdentityProvider } from "./provider.mjs";

const [base, publicUrl, clinicPort, partnerPort] = process.argv.slice(2);
const CHAT = "https://chat.hospital-a.example/";

const clinic = new IdentityProvider({ id: "clinic", port: clinicPort, base, publicUrl, algorithm: "RS256", auth: "client_secret_basic" });
const partner = new IdentityProvider({ id: "partner", port: partnerPort, base, publicUrl, algorithm: "ES256", auth: "client_secret_post" });
const people = {
    alice: { sub: "4711", preferred_username: "alice", name: "Dr. Alice", email: "alice@hospital-a.example" },
    bob: { sub: "4712", preferred_username: "bob", name: "Nurse Bob" },
};

function expect(condition, sentence) {
    if (!condition) throw new Error(sentence);
}

async function matrix(method, path, token, body) {
    const response = await fetch(`${base}/_matrix/client/v3/${path}`, {
        method,
        headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), ...(body ? { "content-type": "application/json" } : {}) },
        body: body && JSON.stringify(body),
    });
    return { status: response.status, json: await response.json() };
}

// A person goes through the provider; the answer is the redirection to the client, or a page.
async function through(provider, browser, who, how = {}) {
    provider.people.set(who.sub, who);
    provider.next = { sub: who.sub, amr: how.amr, acr: how.acr };
    return browser.follow(`${publicUrl}/_matrix/client/v3/login/sso/redirect/${provider.id}?redirectUrl=${encodeURIComponent(CHAT)}`, CHAT);
}

async function signIn(provider, browser, who, how) {
    const { end, status, text } = await through(provider, browser, who, how);
    expect(end, `${who.preferred_username} was not signed in: ${status} ${text}`);
    const token = new URL(end).searchParams.get("loginToken");
    const login = await matrix("POST", "login", null, { type: "m.login.token", token });
    expect(login.status === 200, `the login token was refused: ${JSON.stringify(login.json)}`);
    return login.json;
}

const newBrowser = () => new Browser(base, publicUrl);

async function isSignedIn(login) {
    return (await matrix("GET", "account/whoami", login.access_token)).status === 200;
}

// Waits for what another server has to tell.
async function until(what, condition) {
    const deadline = Date.now() + 20_000;
    while (!(await condition())) {
        expect(Date.now() < deadline, `${what}: not within 20 seconds`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

const ward = newBrowser();
const home = newBrowser();
const logins = {};

const steps = [
    ["a provider that is down", async () => {
        const page = await through(clinic, newBrowser(), people.alice);
        expect(page.status === 502 && page.text.includes("cannot be reached"), `${page.status} ${page.text}`);
        await partner.start();
        await clinic.start();
        // The server leaves a provider alone for a moment after a failure.
        await until("the provider is used again", async () => {
            const page = await newBrowser().get(`${publicUrl}/_matrix/client/v3/login/sso/redirect/clinic?redirectUrl=${encodeURIComponent(CHAT)}`);
            return page.status === 302;
        });
    }],
    ["flows name the providers", async () => {
        const { flows } = (await matrix("GET", "login")).json;
        const ids = flows.find((flow) => flow.type === "m.login.sso").identity_providers.map((provider) => provider.id);
        expect(ids.join() === "clinic,partner", `the providers are ${ids}`);
    }],
    ["somebody new signs in with PKCE", async () => {
        logins.ward = await signIn(clinic, ward, people.alice);
        expect(logins.ward.user_id === "@alice:hospital-a.example", logins.ward.user_id);
        const profile = await matrix("GET", `profile/${logins.ward.user_id}/displayname`, logins.ward.access_token);
        expect(profile.json.displayname === "Dr. Alice", JSON.stringify(profile.json));
    }],
    ["somebody known signs in on another device", async () => {
        logins.home = await signIn(clinic, home, { ...people.alice, preferred_username: "alice.married" });
        expect(logins.home.user_id === logins.ward.user_id, logins.home.user_id);
    }],
    ["an answer in another browser is refused", async () => {
        const stranger = newBrowser();
        clinic.next = { sub: people.bob.sub };
        clinic.people.set(people.bob.sub, people.bob);
        const start = `${publicUrl}/_matrix/client/v3/login/sso/redirect/clinic?redirectUrl=${encodeURIComponent(CHAT)}`;
        const { end } = await stranger.follow(start, `${publicUrl}/_matrix/client/unstable/org.wardroom/oidc/clinic/callback`);
        const page = await newBrowser().get(end);
        expect(page.status === 400, `${page.status} ${page.text}`);
    }],
    ["a second provider demands multi-factor", async () => {
        const page = await through(partner, newBrowser(), people.bob, { amr: ["pwd"] });
        expect(page.status === 403 && page.text.includes("second factor"), `${page.status} ${page.text}`);
        logins.bob = await signIn(partner, newBrowser(), people.bob, { amr: ["pwd", "mfa"] });
        expect(logins.bob.user_id === "@bob:hospital-a.example", logins.bob.user_id);
    }],
    ["the same name at another provider is somebody else", async () => {
        const page = await through(partner, newBrowser(), people.alice, { amr: ["mfa"] });
        expect(page.status === 403 && page.text.includes("another account"), `${page.status} ${page.text}`);
    }],
    ["an action is confirmed by signing in again", async () => {
        const spare = await signIn(clinic, newBrowser(), people.alice);
        const path = `devices/${spare.device_id}`;
        const asked = await matrix("DELETE", path, logins.ward.access_token, {});
        expect(asked.status === 401 && asked.json.flows[0].stages[0] === "m.login.sso", JSON.stringify(asked.json));
        const session = asked.json.session;
        const page = await ward.get(`${publicUrl}/_matrix/client/v3/auth/m.login.sso/fallback/web?session=${session}`);
        const link = /href="([^"]+)"/.exec(page.text)?.[1].replaceAll("&amp;", "&");
        expect(link, `no link: ${page.text}`);
        clinic.next = { sub: people.alice.sub };
        const done = await ward.follow(link);
        expect(done.status === 200 && done.text.includes("onAuthDone"), `${done.status} ${done.text}`);
        const deleted = await matrix("DELETE", path, logins.ward.access_token, { auth: { session } });
        expect(deleted.status === 200, JSON.stringify(deleted.json));
        expect(!(await isSignedIn(spare)), "the device is still signed in");
    }],
    ["signing out at the provider ends what came from that session", async () => {
        await ward.signOut(clinic);
        await until("the end of the device", async () => !(await isSignedIn(logins.ward)));
        expect(await isSignedIn(logins.home), "the device of another session was signed out");
        expect(await isSignedIn(logins.bob), "somebody else was signed out");
    }],
    ["the provider starts again with another key", async () => {
        await clinic.stop();
        await clinic.start();
        const login = await signIn(clinic, newBrowser(), people.alice);
        expect(login.user_id === logins.home.user_id, login.user_id);
        expect(await isSignedIn(logins.home), "known sessions go on");
    }],
];

let status = 0;
for (const [name, step] of steps) {
    try {
        await step();
        console.log(`ok ${name}`);
    } catch (error) {
        console.log(`FAILED ${name}: ${error.stack ?? error}`);
        status = 1;
        break;
    }
}
process.exit(status);
