// An OpenID provider on loopback, as its project publishes it, and a browser that signs people in there.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const SECRET = "a secret: of the tests%";

/// A new signing key as a private JWK.
function newKey(algorithm) {
    const { privateKey } =
        algorithm === "ES256"
            ? generateKeyPairSync("ec", { namedCurve: "P-256" })
            : generateKeyPairSync("rsa", { modulusLength: 2048 });
    return { ...privateKey.export({ format: "jwk" }), alg: algorithm, use: "sig", kid: randomUUID() };
}

export class IdentityProvider {
    // `base` is where the server under test really is, `publicUrl` what its browsers call it.
    constructor({ id, port, base, publicUrl, algorithm, auth }) {
        Object.assign(this, { id, port, base, publicUrl, algorithm, auth, people: new Map(), signedOut: [] });
        this.issuer = `http://127.0.0.1:${port}`;
    }

    async start() {
        const path = `/_matrix/client/unstable/org.wardroom/oidc/${this.id}`;
        const provider = new Provider(this.issuer, {
            clients: [{
                client_id: "wardroom",
                client_secret: SECRET,
                redirect_uris: [`${this.publicUrl}${path}/callback`],
                response_types: ["code"],
                grant_types: ["authorization_code"],
                token_endpoint_auth_method: this.auth,
                id_token_signed_response_alg: this.algorithm,
                backchannel_logout_uri: `${this.base}${path}/backchannel_logout`,
                backchannel_logout_session_required: true,
            }],
            jwks: { keys: [newKey(this.algorithm)] },
            cookies: { keys: [randomUUID()] },
            claims: { openid: ["sub", "amr", "auth_time"], profile: ["preferred_username", "name"], email: ["email"] },
            // Claims of the scopes stand in the ID token too.
            conformIdTokenClaims: false,
            // Its own dispatcher refuses loopback, where the server under test is.
            fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
            ttl: { AccessToken: 60, AuthorizationCode: 60, Grant: 600, IdToken: 300, Interaction: 600, Session: 600 },
            pkce: { required: () => true },
            features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true }, rpInitiatedLogout: { enabled: true } },
            interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
            findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, ...this.people.get(sub) }) }),
            loadExistingGrant: async (context) => {
                const { client, session } = context.oidc;
                const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
                grant.addOIDCScope("openid profile email");
                await grant.save();
                return grant;
            },
            renderError: (context, out) => { context.body = JSON.stringify(out); },
        });
        provider.on("backchannel.error", (_, error) => console.error(`back-channel logout: ${error.cause ?? error.stack ?? error}`));
        provider.on("server_error", (_, error) => console.error(`provider: ${error.stack ?? error}`));
        const callback = provider.callback();
        this.server = createServer(async (request, response) => {
            if (!request.url.startsWith("/interaction/")) return callback(request, response);
            const who = this.next;
            await provider.interactionFinished(request, response, { login: { accountId: who.sub, amr: who.amr, acr: who.acr, remember: true } });
        });
        await new Promise((resolve) => this.server.listen(this.port, "127.0.0.1", resolve));
    }

    async stop() {
        this.server.closeAllConnections();
        await new Promise((resolve) => this.server.close(resolve));
    }
}

// A browser: cookies by origin, and one request at a time.
export class Browser {
    constructor(base, publicUrl) {
        Object.assign(this, { base, publicUrl, jars: new Map() });
    }

    async get(url, options = {}) {
        // The server under test answers at loopback what its public name stands for.
        const real = url.startsWith(this.publicUrl) ? this.base + url.slice(this.publicUrl.length) : url;
        const origin = new URL(real).origin;
        const jar = this.jars.get(origin) ?? new Map();
        this.jars.set(origin, jar);
        const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
        const headers = { ...options.headers, ...(cookie ? { cookie } : {}) };
        const response = await fetch(real, { redirect: "manual", ...options, headers });
        for (const line of response.headers.getSetCookie()) {
            const [pair] = line.split(";");
            const at = pair.indexOf("=");
            if (/max-age=0|expires=thu, 01 jan 1970/i.test(line)) jar.delete(pair.slice(0, at));
            else jar.set(pair.slice(0, at), pair.slice(at + 1));
        }
        return { status: response.status, location: response.headers.get("location"), text: await response.text(), url: real };
    }

    // Follows redirections until one leads to `stop`, or there is a page.
    async follow(url, stop) {
        for (let hops = 0; hops < 20; hops += 1) {
            const answer = await this.get(url);
            if (![302, 303].includes(answer.status)) return answer;
            url = new URL(answer.location, url).href;
            if (stop && url.startsWith(stop)) return { ...answer, end: url };
        }
        throw new Error(`too many redirections, the last to ${url}`);
    }

    // Signs out at a provider, as a person does there.
    async signOut(provider) {
        const page = await this.get(`${provider.issuer}/session/end?client_id=wardroom`);
        const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.text)?.[1];
        if (!xsrf) throw new Error(`no form to sign out: ${page.status} ${page.text}`);
        return this.get(`${provider.issuer}/session/end/confirm`, {
            method: "POST",
            headers: { "content-type": "application/x-www-form-urlencoded" },
            body: new URLSearchParams({ xsrf, logout: "yes" }).toString(),
        });
    }
}
