// End-to-end encryption with unmodified matrix-js-sdk clients (whose cryptography is the Rust SDK's) and a matrix-nio
// client, against a real server.
//
//     node e2ee.mjs BASE_URL [--nio COMMAND] [--verbose]
//
// COMMAND is a shell command that starts the bot of matrix-nio. Prints a line for each step; ends at the first that
// fails, with a sentence that says what was expected and what came instead, and exit status 1.

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { AuthType, EventType, KnownMembership, Method, RelationType } from "matrix-js-sdk";
import {
    CryptoEvent,
    EventShieldColour,
    VerificationPhase,
    VerificationRequestEvent,
    VerifierEvent,
} from "matrix-js-sdk/lib/crypto-api/index.js";
import { SlidingSync, SlidingSyncEvent, SlidingSyncState } from "matrix-js-sdk/lib/sliding-sync.js";
import { Failure, PASSWORD, Person, expect, isRefused, run, succeeds, until } from "./support.mjs";

const ENCRYPTION = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };
const SAS = "m.sas.v1";

/**
 * The SDK stumbles when a sync brings a reply in a thread before the request that sends it is answered. Whether it was
 * sent is looked at afterwards.
 */
function forgiveEarlyEcho(error) {
    if (!String(error?.message).includes("which is not a local echo")) throw error;
}

/** A device that encrypts. Devices of one user share `vault`, where a person keeps the recovery key. */
class Device extends Person {
    constructor(baseUrl, name, vault = {}) {
        const answerKey = async ({ keys }) => {
            const id = Object.keys(keys).find((id) => vault.keys?.has(id));
            return id === undefined ? null : [id, vault.keys.get(id)];
        };
        const keepKey = (id, _info, key) => (vault.keys ??= new Map()).set(id, key);
        super(baseUrl, name, { cryptoCallbacks: { getSecretStorageKey: answerKey, cacheSecretStorageKey: keepKey } });
        this.vault = vault;
    }

    get crypto() {
        return this.client.getCrypto();
    }

    get deviceId() {
        return this.client.getDeviceId();
    }

    async register() {
        const auth = { type: AuthType.Dummy };
        const body = { username: this.name, password: PASSWORD, auth };
        this.use(await succeeds(`registration of ${this.name}`, this.anonymous().registerRequest(body)));
        await this.startEncrypted();
    }

    async logIn(options = {}) {
        const identifier = { type: "m.id.user", user: this.name };
        const body = { type: AuthType.Password, identifier, password: PASSWORD };
        this.use(await succeeds(`login of ${this.name}`, this.anonymous().loginRequest(body)));
        await this.startEncrypted(options);
    }

    async startEncrypted(options = {}) {
        await succeeds(`cryptography of ${this.name}`, this.client.initRustCrypto({ useIndexedDB: false }));
        await this.start({ threadSupport: true, ...options });
    }

    /** Answers user-interactive authentication with the password. */
    authenticate = async (makeRequest) => {
        try {
            return await makeRequest(null);
        } catch (error) {
            if (error?.httpStatus !== 401 || !error.data?.session) throw error;
            const identifier = { type: "m.id.user", user: this.name };
            return makeRequest({ type: AuthType.Password, identifier, password: PASSWORD, session: error.data.session });
        }
    };

    /** The event of a message once it is decrypted. */
    async hears(roomId, body) {
        let found;
        const look = () => (found = this.messages(roomId).find((event) => event.getContent().body === body)) !== undefined;
        try {
            await this.until(`"${body}"`, look);
        } catch (error) {
            const events = this.room(roomId)?.getLiveTimeline().getEvents() ?? [];
            const seen = events.filter((event) => event.isEncrypted());
            const tell = (event) => (event.isDecryptionFailure() ? event.decryptionFailureReason : event.getContent().body);
            throw new Failure(`${error.message}; encrypted events there: ${seen.map(tell).join(", ") || "none"}`);
        }
        expect(found.isEncrypted(), `"${body}" came in the clear`);
        return found;
    }

    /** What the server says of the backup; the SDK would answer with what it was when it looked last. */
    async backup() {
        return succeeds("GET /room_keys/version", this.client.http.authedRequest(Method.Get, "/room_keys/version"));
    }

    async shieldOf(event) {
        return (await this.crypto.getEncryptionInfoForEvent(event))?.shieldColour;
    }

    async logOut() {
        this.stop();
        await succeeds(`logout of ${this.name}`, this.client.logout(true));
    }
}

/** The other implementation: a process that answers encrypted messages with encrypted ones. */
class Bot {
    constructor(command, baseUrl, name) {
        this.lines = [];
        this.process = spawn(`${command} ${baseUrl} ${name}`, { shell: true, stdio: ["pipe", "pipe", "inherit"] });
        createInterface({ input: this.process.stdout }).on("line", (line) => this.lines.push(line));
        this.ended = new Promise((resolve) => this.process.on("close", resolve));
    }

    async line(start) {
        const find = () => this.lines.find((line) => line.startsWith(`${start} `));
        try {
            await until("the bot", start, () => find() !== undefined || this.process.exitCode !== null);
        } catch (error) {
            throw new Failure(`${error.message}; it said: ${this.lines.join("; ") || "nothing"}`);
        }
        expect(find() !== undefined, `the bot ended with ${this.process.exitCode}; it said: ${this.lines.join("; ")}`);
        return find().slice(start.length + 1);
    }

    /** It ends when its input does. */
    async stop() {
        this.process.stdin.end();
        await this.ended;
    }
}

class Scenario {
    constructor(baseUrl, nio) {
        this.run = randomUUID().slice(0, 8);
        this.baseUrl = baseUrl;
        this.nio = nio;
        this.alice = new Device(baseUrl, `e2ee-alice-${this.run}`);
        this.bob = new Device(baseUrl, `e2ee-bob-${this.run}`);
        this.others = [];
    }

    steps() {
        const withNio = [
            ["invite a matrix-nio client", this.inviteNio],
            ["encrypted messages from and to matrix-nio", this.talkWithNio],
        ];
        return [
            ["register with device keys", this.register],
            ["bootstrap cross-signing", this.bootstrapCrossSigning],
            ["bootstrap secret storage and a key backup", this.bootstrapSecretStorage],
            ["create an encrypted room", this.createARoom],
            ["encrypted messages both ways", this.messageBothWays],
            ...(this.nio ? withNio : []),
            ["an encrypted thread", this.thread],
            ["share the history with who is invited", this.shareHistory],
            ["verify each other by emoji", this.verifyEachOther],
            ["keys reach the backup", this.backUp],
            ["a new device signs itself with secret storage", this.newDevice],
            ["a new device restores the history from the backup", this.restore],
            ["messages reach all devices", this.messageAllDevices],
            ["sliding sync", this.slidingSync],
            ["dehydrate a device", this.dehydrate],
            ["rehydrate it for what came while logged out", this.rehydrate],
            ["replace the backup", this.replaceBackup],
            ["log out", this.logOut],
        ];
    }

    device(name, vault) {
        const device = new Device(this.baseUrl, name, vault);
        this.others.push(device);
        return device;
    }

    async register() {
        for (const person of [this.alice, this.bob]) {
            await person.register();
            const uploaded = async () => (await person.client.downloadKeysForUsers([person.userId])).device_keys?.[person.userId];
            await person.until("the device's keys on the server", async () => (await uploaded())?.[person.deviceId] !== undefined);
            const own = await person.crypto.getOwnDeviceKeys();
            const keys = (await uploaded())[person.deviceId].keys;
            expect(keys[`ed25519:${person.deviceId}`] === own.ed25519, `the server has another key: ${JSON.stringify(keys)}`);
        }
    }

    async bootstrapCrossSigning() {
        for (const person of [this.alice, this.bob]) {
            const options = { authUploadDeviceSigningKeys: person.authenticate };
            await succeeds("bootstrapCrossSigning", person.crypto.bootstrapCrossSigning(options));
            expect(await person.crypto.userHasCrossSigningKeys(person.userId, true), `${person.name} has no cross-signing keys`);
            await person.until("the own device's signature", async () => {
                const status = await person.crypto.getDeviceVerificationStatus(person.userId, person.deviceId);
                return status?.crossSigningVerified;
            });
        }
    }

    async bootstrapSecretStorage() {
        const { alice } = this;
        const recovery = await alice.crypto.createRecoveryKeyFromPassphrase();
        const options = { createSecretStorageKey: async () => recovery, setupNewSecretStorage: true, setupNewKeyBackup: true };
        await succeeds("bootstrapSecretStorage", alice.crypto.bootstrapSecretStorage(options));
        await alice.until("secret storage", () => alice.crypto.isSecretStorageReady());
        await alice.until("cross-signing in secret storage", () => alice.crypto.isCrossSigningReady());
        const info = await alice.crypto.getKeyBackupInfo();
        expect(info?.algorithm === "m.megolm_backup.v1.curve25519-aes-sha2", `the backup is ${JSON.stringify(info)}`);
        const trust = await alice.crypto.isKeyBackupTrusted(info);
        expect(trust.trusted, "the new backup is not signed by its maker");
        await alice.until("an active backup", async () => (await alice.crypto.getActiveSessionBackupVersion()) === info.version);
        this.backupVersion = info.version;
    }

    async createARoom() {
        const { alice, bob } = this;
        // Who joins later is not given the keys of what was said before.
        const visibility = { type: "m.room.history_visibility", state_key: "", content: { history_visibility: "joined" } };
        const options = { name: "Ward 7", preset: "private_chat", invite: [bob.userId], initial_state: [ENCRYPTION, visibility] };
        this.roomId = (await succeeds("POST /createRoom", alice.client.createRoom(options))).room_id;
        await bob.until("the invite", () => bob.room(this.roomId)?.getMyMembership() === KnownMembership.Invite);
        await succeeds("POST /join", bob.client.joinRoom(this.roomId));
        for (const person of [alice, bob]) {
            await person.until("the join", () => person.room(this.roomId)?.getJoinedMemberCount() === 2);
            await person.until("encryption", () => person.crypto.isEncryptionEnabledInRoom(this.roomId));
        }
    }

    async messageBothWays() {
        const { alice, bob } = this;
        const sent = await alice.say(this.roomId, "hello bob");
        const heard = await bob.hears(this.roomId, "hello bob");
        expect(heard.getId() === sent, `sync calls it ${heard.getId()}, send ${sent}`);
        expect((await bob.shieldOf(heard)) === EventShieldColour.NONE, "a message of a signed device wears a shield");
        await bob.say(this.roomId, "hello alice");
        await alice.hears(this.roomId, "hello alice");
        const raw = await succeeds("GET /event", bob.client.fetchRoomEvent(this.roomId, sent));
        expect(raw.type === "m.room.encrypted", `the server has a ${raw.type}`);
        expect(!JSON.stringify(raw).includes("hello bob"), "the server knows the text");
    }

    async inviteNio() {
        const { alice } = this;
        this.bot = new Bot(this.nio, this.baseUrl, `e2ee-nio-${this.run}`);
        this.botId = await this.bot.line("ready");
        await succeeds("POST /invite", alice.client.invite(this.roomId, this.botId));
        await this.bot.line("joined");
        for (const person of [alice, this.bob]) {
            await person.until("the bot's join", () => person.room(this.roomId).getMember(this.botId)?.membership === KnownMembership.Join);
        }
    }

    async talkWithNio() {
        for (const person of [this.alice, this.bob]) {
            await person.say(this.roomId, `echo ${person.name}`);
            const answer = await person.hears(this.roomId, `nio heard: echo ${person.name}`);
            expect(answer.getSender() === this.botId, `answered by ${answer.getSender()}`);
        }
        // Both speak to both: the other one hears as well.
        await this.bob.hears(this.roomId, `nio heard: echo ${this.alice.name}`);
        await this.bot.stop();
        const left = () => this.alice.room(this.roomId).getMember(this.botId)?.membership === KnownMembership.Leave;
        await this.alice.until("the bot's leave", left);
        await this.bob.until("the bot's leave", () => this.bob.room(this.roomId).getJoinedMemberCount() === 2);
    }

    async thread() {
        const { alice, bob } = this;
        const root = await alice.say(this.roomId, "root of a thread");
        await bob.hears(this.roomId, "root of a thread");
        for (const [person, body] of [[bob, "first reply"], [alice, "second reply"]]) {
            const content = { "msgtype": "m.text", body, "m.relates_to": { rel_type: RelationType.Thread, event_id: root } };
            const sent = person.client.sendEvent(this.roomId, root, EventType.RoomMessage, content);
            await succeeds(`${person.name} replies`, sent.catch(forgiveEarlyEcho));
        }
        for (const person of [alice, bob]) {
            const bodies = () => {
                const events = person.room(this.roomId).getThread(root)?.events ?? [];
                return events.map((event) => event.getContent().body).filter((body) => body?.endsWith("reply"));
            };
            await person.until("both replies", () => JSON.stringify(bodies()) === JSON.stringify(["first reply", "second reply"]));
        }
        const raw = await succeeds("GET /event of the root", bob.client.fetchRoomEvent(this.roomId, root));
        const summary = raw.unsigned?.["m.relations"]?.["m.thread"];
        expect(summary?.count === 2, `the summary of the thread is ${JSON.stringify(summary)}`);
        expect(summary.current_user_participated === true, "bob took part in the thread");
    }

    async shareHistory() {
        const { alice, bob } = this;
        const options = { name: "Ward 8", preset: "private_chat", initial_state: [ENCRYPTION] };
        const room = (await succeeds("POST /createRoom", alice.client.createRoom(options))).room_id;
        await alice.until("encryption", () => alice.crypto.isEncryptionEnabledInRoom(room));
        await alice.say(room, "before the invite");
        // The keys of what was said go to the invited devices, in a file.
        await succeeds("POST /invite", alice.client.invite(room, bob.userId));
        await bob.until("the invite", () => bob.room(room)?.getMyMembership() === KnownMembership.Invite);
        await succeeds("POST /join", bob.client.joinRoom(room, { acceptSharedHistory: true }));
        await bob.until("his own join", () => bob.room(room)?.getMyMembership() === KnownMembership.Join);
        await bob.hears(room, "before the invite");
    }

    async verifyEachOther() {
        const { alice, bob } = this;
        const incoming = new Promise((resolve) => bob.client.once(CryptoEvent.VerificationRequestReceived, resolve));
        const asked = await succeeds("a request", alice.crypto.requestVerificationDM(bob.userId, this.roomId));
        let received;
        incoming.then((request) => (received = request));
        await bob.until("the request", () => received !== undefined);
        await succeeds("accepting", received.accept());
        await alice.until("the acceptance", () => asked.phase === VerificationPhase.Ready);
        const verifier = await succeeds("starting", asked.startVerification(SAS));
        await bob.until("the start", () => received.verifier !== undefined);
        const shown = (verifier) => new Promise((resolve) => verifier.once(VerifierEvent.ShowSas, resolve));
        const both = [shown(verifier), shown(received.verifier)];
        const done = Promise.all([verifier.verify(), received.verifier.verify()]);
        done.catch(() => {});
        let sas;
        Promise.all(both).then((callbacks) => (sas = callbacks));
        await alice.until("the emoji", () => sas !== undefined);
        const [left, right] = sas.map(({ sas }) => sas.emoji.map(([, name]) => name).join(" "));
        expect(left === right, `one sees ${left}, the other ${right}`);
        await Promise.all(sas.map((callback) => callback.confirm()));
        await succeeds("verification", done);
        for (const [person, other] of [[alice, bob], [bob, alice]]) {
            const verified = async () => (await person.crypto.getUserVerificationStatus(other.userId)).isCrossSigningVerified();
            await person.until("the verified user", verified);
        }
    }

    async backUp() {
        const { alice, bob } = this;
        // The SDK looks for keys to back up when one arrives, also for those that it made itself.
        await succeeds("a new session key", bob.crypto.forceDiscardSession(this.roomId));
        await bob.say(this.roomId, "one more key");
        await alice.hears(this.roomId, "one more key");
        const all = async () => (await alice.crypto.exportRoomKeys()).length;
        const stored = async () => (await alice.backup()).count;
        const known = await all();
        expect(known >= 2, `alice knows ${known} keys only`);
        await alice.until(`her ${known} keys in the backup`, async () => (await stored()) >= known);
    }

    async newDevice() {
        const { alice, bob } = this;
        const tablet = (this.tablet = this.device(alice.name, alice.vault));
        await tablet.logIn();
        const status = (person) => person.crypto.getDeviceVerificationStatus(alice.userId, tablet.deviceId);
        expect(!(await status(tablet))?.crossSigningVerified, "a new device is signed already");
        await succeeds("bootstrapCrossSigning", tablet.crypto.bootstrapCrossSigning({}));
        for (const person of [tablet, alice, bob]) {
            await person.until("the new device's signature", async () => (await status(person))?.crossSigningVerified);
        }
        const user = await bob.crypto.getUserVerificationStatus(alice.userId);
        expect(user.isCrossSigningVerified(), "bob has to verify alice again");
    }

    async restore() {
        const { alice, tablet } = this;
        await tablet.until("the history", () => tablet.room(this.roomId)?.getLiveTimeline().getEvents().length > 0);
        await succeeds("the backup's key", tablet.crypto.loadSessionBackupPrivateKeyFromSecretStorage());
        const result = await succeeds("restoreKeyBackup", tablet.crypto.restoreKeyBackup({}));
        const { count } = await alice.backup();
        expect(result.total === count && result.imported === count, `restored ${JSON.stringify(result)} of ${count} keys`);
        for (let pages = 0; pages < 10 && !tablet.said(this.roomId).includes("hello bob"); pages += 1) {
            await succeeds("GET /messages", tablet.client.scrollback(tablet.room(this.roomId), 50));
            await Promise.all(tablet.room(this.roomId).getLiveTimeline().getEvents().map((event) => event.getDecryptionPromise()));
        }
        await tablet.hears(this.roomId, "hello bob");
        await tablet.hears(this.roomId, "hello alice");
    }

    async messageAllDevices() {
        const { alice, bob, tablet } = this;
        await bob.say(this.roomId, "to all devices");
        for (const person of [alice, tablet]) await person.hears(this.roomId, "to all devices");
        await tablet.say(this.roomId, "from the tablet");
        for (const person of [alice, bob]) {
            const heard = await person.hears(this.roomId, "from the tablet");
            expect((await person.shieldOf(heard)) === EventShieldColour.NONE, `${person.name} sees a shield on the new device`);
        }
    }

    async slidingSync() {
        const { alice, bob } = this;
        const phone = (this.phone = this.device(bob.name));
        const body = { type: AuthType.Password, identifier: { type: "m.id.user", user: bob.name }, password: PASSWORD };
        phone.use(await succeeds("login of the phone", phone.anonymous().loginRequest(body)));
        await phone.client.initRustCrypto({ useIndexedDB: false });
        const wanted = { timeline_limit: 20, required_state: [["*", "*"]] };
        const lists = new Map([["all", { ranges: [[0, 19]], ...wanted }]]);
        const slidingSync = new SlidingSync(this.baseUrl, lists, wanted, phone.client, 2_000);
        slidingSync.on(SlidingSyncEvent.Lifecycle, (state, _response, error) => {
            if (state === SlidingSyncState.RequestFinished && error) phone.problems.push(String(error));
        });
        await succeeds("sliding sync starts", phone.client.startClient({ slidingSync, threadSupport: true }));
        await phone.until("the room", () => phone.room(this.roomId)?.getMyMembership() === KnownMembership.Join);
        expect(phone.room(this.roomId).name === "Ward 7", `the room is called ${phone.room(this.roomId).name}`);
        await alice.until("bob's phone", async () => {
            const devices = await alice.crypto.getUserDeviceInfo([bob.userId], true);
            return devices.get(bob.userId)?.has(phone.deviceId);
        });
        await alice.say(this.roomId, "to sliding sync");
        await phone.hears(this.roomId, "to sliding sync");
        await phone.say(this.roomId, "from sliding sync");
        await alice.hears(this.roomId, "from sliding sync");
        await phone.logOut();
    }

    async dehydrate() {
        const { alice, bob } = this;
        expect(await alice.crypto.isDehydrationSupported(), "the server does not know dehydrated devices");
        let uploaded = 0;
        alice.client.on(CryptoEvent.DehydratedDeviceUploaded, () => (uploaded += 1));
        await succeeds("startDehydration", alice.crypto.startDehydration({ createNewKey: true }));
        expect(uploaded === 1, `${uploaded} dehydrated devices were uploaded`);
        const dehydrated = async (person) => {
            const devices = await person.crypto.getUserDeviceInfo([alice.userId], true);
            return [...devices.get(alice.userId).values()].filter((device) => device.dehydrated).length;
        };
        await bob.until("the dehydrated device", async () => (await dehydrated(bob)) === 1);
        const { devices } = await succeeds("GET /devices", alice.client.getDevices());
        expect(devices.length === 3, `there are ${devices.length} devices, not two and the dehydrated one`);
    }

    async rehydrate() {
        const { alice, bob, tablet } = this;
        await alice.logOut();
        await tablet.logOut();
        const gone = async () => {
            const devices = await bob.crypto.getUserDeviceInfo([alice.userId], true);
            return devices.get(alice.userId)?.size === 1;
        };
        await bob.until("the end of alice's sessions", gone);
        await succeeds("a new session key", bob.crypto.forceDiscardSession(this.roomId));
        await bob.say(this.roomId, "while you were out");
        const laptop = (this.laptop = this.device(alice.name, alice.vault));
        await laptop.logIn();
        await succeeds("bootstrapCrossSigning", laptop.crypto.bootstrapCrossSigning({}));
        let keys = 0;
        laptop.client.on(CryptoEvent.RehydrationProgress, (roomKeys) => (keys = roomKeys));
        laptop.client.on(CryptoEvent.RehydrationError, (error) => laptop.problems.push(`rehydration: ${error}`));
        await laptop.until("her signature", () => laptop.crypto.isCrossSigningReady());
        await succeeds("startDehydration", laptop.crypto.startDehydration());
        await laptop.until("keys of the dehydrated device", () => keys > 0);
        await laptop.hears(this.roomId, "while you were out");
    }

    async replaceBackup() {
        const { laptop } = this;
        await succeeds("resetKeyBackup", laptop.crypto.resetKeyBackup());
        const info = await laptop.backup();
        expect(info.version !== this.backupVersion, `the backup is still ${info.version}`);
        const known = (await laptop.crypto.exportRoomKeys()).length;
        const stored = async () => (await laptop.backup()).count;
        await laptop.until("her keys in the new backup", async () => (await stored()) >= known);
        await succeeds("disableKeyStorage", laptop.crypto.disableKeyStorage());
        await isRefused("GET /room_keys/version", laptop.client.http.authedRequest(Method.Get, "/room_keys/version"), "M_NOT_FOUND");
    }

    async logOut() {
        for (const person of [this.bob, this.laptop]) await person.logOut();
    }

    async stop() {
        for (const person of [this.alice, this.bob, ...this.others]) person.stop();
        await this.bot?.stop();
    }
}

const options = { nio: { type: "string" } };
process.exit(await run("js-e2ee", options, (baseUrl, values) => new Scenario(baseUrl, values.nio)));
