// Everyday chat with an unmodified matrix-js-sdk client, against a real server.
//
//     node scenario.mjs BASE_URL [--verbose]
//
// Prints a line for each step; ends at the first that fails, with a sentence that says what was expected and what
// came instead, and exit status 1.

import { parseArgs } from "node:util";
import { randomUUID } from "node:crypto";
import {
    AuthType,
    ClientEvent,
    Direction,
    EventTimeline,
    EventType,
    InteractiveAuth,
    KnownMembership,
    ReceiptType,
    createClient,
} from "matrix-js-sdk";

const PASSWORD = "correct horse battery staple";
// How long another client may take to hear of something.
const SOON_MS = 20_000;
// How often a condition is looked at when no event announced it.
const LOOK_AGAIN_MS = 100;
const HISTORY_MESSAGES = 30;
const PAGE_EVENTS = 10;
const PAGES_MAX = 50;

class Failure extends Error {}

function expect(condition, sentence) {
    if (!condition) throw new Failure(sentence);
}

/** What an error of the SDK says: HTTP status, errcode and the server's sentence. */
function tell(error) {
    if (error?.httpStatus !== undefined) {
        return `HTTP ${error.httpStatus} ${error.errcode ?? ""} ${error.data?.error ?? error.message}`;
    }
    if (error?.name === "ConnectionError") return `no connection: ${error.cause?.cause?.message ?? error.message}`;
    return error?.stack ?? String(error);
}

/** The value of a request that must succeed. */
async function succeeds(what, promise) {
    try {
        return await promise;
    } catch (error) {
        throw new Failure(`${what}: expected success, got ${tell(error)}`);
    }
}

/** Asserts that a request is refused with an error code. */
async function isRefused(what, promise, errcode) {
    let answer;
    try {
        answer = await promise;
    } catch (error) {
        expect(error?.errcode === errcode, `${what}: expected ${errcode}, got ${tell(error)}`);
        return;
    }
    throw new Failure(`${what}: expected ${errcode}, got ${JSON.stringify(answer)}`);
}

/** Waits until a condition holds on what the client knows. */
async function until(who, what, condition) {
    const deadline = Date.now() + SOON_MS;
    while (!condition()) {
        expect(Date.now() < deadline, `${who} did not hear of ${what} within ${SOON_MS} ms`);
        await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
}

/** A user at one client of the SDK. */
class Person {
    constructor(baseUrl, name) {
        this.baseUrl = baseUrl;
        this.name = name;
        this.client = undefined;
        this.problems = [];
    }

    anonymous() {
        return createClient({ baseUrl: this.baseUrl });
    }

    /** A client for what a login or registration answered. */
    use(answer) {
        this.client = createClient({
            baseUrl: this.baseUrl,
            userId: answer.user_id,
            deviceId: answer.device_id,
            accessToken: answer.access_token,
            disableVoip: true,
            timelineSupport: true,
        });
    }

    get userId() {
        return this.client.getUserId();
    }

    /** Starts to sync as Element does, with lazily loaded members. */
    async start() {
        this.client.on(ClientEvent.Sync, (state, _previous, data) => {
            if (data?.error) this.problems.push(`${state}: ${tell(data.error)}`);
        });
        this.client.on(ClientEvent.SyncUnexpectedError, (error) => this.problems.push(tell(error)));
        await succeeds(`${this.name} starts`, this.client.startClient({ initialSyncLimit: 10, lazyLoadMembers: true, disablePresence: true }));
        await this.until("the first sync", () => this.client.isInitialSyncComplete());
    }

    async until(what, condition) {
        const problems = () => (this.problems.length > 0 ? `; its syncs failed: ${this.problems.join("; ")}` : "");
        try {
            await until(this.name, what, condition);
        } catch (error) {
            throw new Failure(error.message + problems());
        }
    }

    room(roomId) {
        return this.client.getRoom(roomId);
    }

    /** The text messages in the live timeline of a room that reached the server. */
    messages(roomId) {
        const events = this.room(roomId)?.getLiveTimeline().getEvents() ?? [];
        return events.filter((event) => event.getType() === EventType.RoomMessage && !event.isSending() && !event.isRedacted());
    }

    said(roomId) {
        return this.messages(roomId).map((event) => event.getContent().body);
    }

    async say(roomId, body) {
        return (await succeeds(`${this.name} sends ${body}`, this.client.sendTextMessage(roomId, body))).event_id;
    }

    stop() {
        this.client?.stopClient();
    }
}

class Scenario {
    constructor(baseUrl) {
        const run = randomUUID().slice(0, 8);
        this.alice = new Person(baseUrl, `js-alice-${run}`);
        this.bob = new Person(baseUrl, `js-bob-${run}`);
    }

    steps() {
        return [
            ["ask for login flows", this.askForLoginFlows],
            ["register through user-interactive auth", this.register],
            ["log in", this.logIn],
            ["start to sync", this.startToSync],
            ["create a room", this.createARoom],
            ["invite", this.invite],
            ["join", this.join],
            ["message both ways", this.messageBothWays],
            ["set a topic", this.setATopic],
            ["send a receipt", this.sendAReceipt],
            ["paginate history", this.paginateHistory],
            ["open a timeline in the middle", this.openInTheMiddle],
            ["redact", this.redact],
            ["leave", this.leave],
            ["log out", this.logOut],
        ];
    }

    async askForLoginFlows() {
        const { flows } = await succeeds("GET /login", this.alice.anonymous().loginFlows());
        expect(flows.some((flow) => flow.type === AuthType.Password), `no m.login.password in ${JSON.stringify(flows)}`);
        const versions = await succeeds("GET /versions", this.alice.anonymous().getVersions());
        expect(versions.versions.includes("v1.1"), `v1.1 is not in ${versions.versions}`);
    }

    async register() {
        for (const person of [this.alice, this.bob]) {
            const client = person.anonymous();
            let asked = 0;
            const auth = new InteractiveAuth({
                matrixClient: client,
                supportedStages: [AuthType.Dummy],
                doRequest: (authData) => {
                    asked += 1;
                    const body = { username: person.name, password: PASSWORD, initial_device_display_name: "js test" };
                    return client.registerRequest(authData ? { ...body, auth: authData } : body);
                },
                stateUpdated: () => {},
                requestEmailToken: () => Promise.reject(new Error("no e-mail in this scenario")),
            });
            const answer = await succeeds(`registration of ${person.name}`, auth.attemptAuth());
            expect(asked === 2, `expected a 401 and then success, but made ${asked} requests`);
            expect(answer.user_id.startsWith(`@${person.name}:`), `registered as ${answer.user_id}`);
            person.use(answer);
        }
    }

    async logIn() {
        const person = this.alice;
        const before = person.userId;
        await succeeds("POST /logout", person.client.logout(true));
        await isRefused("whoami after the logout", person.client.whoami(), "M_UNKNOWN_TOKEN");
        const request = (password) => ({
            type: AuthType.Password,
            identifier: { type: "m.id.user", user: person.name },
            password,
            initial_device_display_name: "js test",
        });
        await isRefused("a wrong password", person.anonymous().loginRequest(request("wrong")), "M_FORBIDDEN");
        person.use(await succeeds("POST /login", person.anonymous().loginRequest(request(PASSWORD))));
        expect(person.userId === before, `logged in as ${person.userId}, not ${before}`);
        const me = await succeeds("GET /account/whoami", person.client.whoami());
        expect(me.user_id === before, `whoami says ${me.user_id}`);
    }

    async startToSync() {
        for (const person of [this.alice, this.bob]) {
            await person.start();
            expect(person.client.pushRules?.global?.override?.length > 0, `${person.name} has no push rules`);
        }
    }

    async createARoom() {
        const { alice } = this;
        const options = { name: "Ward 7", topic: "Handover", preset: "private_chat" };
        this.roomId = (await succeeds("POST /createRoom", alice.client.createRoom(options))).room_id;
        await alice.until("her own room", () => alice.room(this.roomId)?.getMyMembership() === KnownMembership.Join);
        await alice.until("the room's name", () => alice.room(this.roomId).name === "Ward 7");
        const topic = alice.room(this.roomId).currentState.getStateEvents(EventType.RoomTopic, "");
        expect(topic?.getContent().topic === "Handover", `the topic is ${JSON.stringify(topic?.getContent())}`);
    }

    async invite() {
        const { alice, bob } = this;
        await succeeds("POST /invite", alice.client.invite(this.roomId, bob.userId));
        await bob.until("the invite", () => bob.room(this.roomId)?.getMyMembership() === KnownMembership.Invite);
        await bob.until("the room's name", () => bob.room(this.roomId).name === "Ward 7");
        const inviter = bob.room(this.roomId).getMember(bob.userId)?.events.member?.getSender();
        expect(inviter === alice.userId, `the invite is from ${inviter}`);
    }

    async join() {
        const { alice, bob } = this;
        await succeeds("POST /join", bob.client.joinRoom(this.roomId));
        await bob.until("his own join", () => bob.room(this.roomId)?.getMyMembership() === KnownMembership.Join);
        await alice.until("the join", () => alice.room(this.roomId).getJoinedMemberCount() === 2);
        await succeeds("lazily loaded members", alice.room(this.roomId).loadMembersIfNeeded());
        const members = alice.room(this.roomId).getJoinedMembers().map((member) => member.userId).sort();
        expect(JSON.stringify(members) === JSON.stringify([alice.userId, bob.userId].sort()), `members are ${members}`);
    }

    async messageBothWays() {
        const { alice, bob } = this;
        this.first = await alice.say(this.roomId, "hello bob");
        await bob.until("alice's message", () => bob.said(this.roomId).includes("hello bob"));
        await bob.say(this.roomId, "hello alice");
        await alice.until("bob's message", () => alice.said(this.roomId).includes("hello alice"));
        for (const person of [alice, bob]) {
            const both = ["hello bob", "hello alice"];
            await person.until("both, once each", () => JSON.stringify(person.said(this.roomId)) === JSON.stringify(both));
        }
        const event = bob.messages(this.roomId)[0];
        expect(event.getId() === this.first, `sync calls it ${event.getId()}, send ${this.first}`);
        expect(event.getSender() === alice.userId, `the sender is ${event.getSender()}`);
    }

    async setATopic() {
        const { alice, bob } = this;
        const set = (person, topic) => person.client.sendStateEvent(this.roomId, EventType.RoomTopic, { topic }, "");
        await succeeds("PUT /state/m.room.topic", set(alice, "Night shift"));
        const topic = () => bob.room(this.roomId).currentState.getStateEvents(EventType.RoomTopic, "")?.getContent().topic;
        await bob.until("the topic", () => topic() === "Night shift");
        await isRefused("bob sets the topic", set(bob, "Mine"), "M_FORBIDDEN");
    }

    async sendAReceipt() {
        const { alice, bob } = this;
        // Newer than anything Bob said: the SDK takes his own messages for read by him.
        const sent = await alice.say(this.roomId, "read me");
        await bob.until("what to read", () => bob.messages(this.roomId).at(-1)?.getId() === sent);
        const newest = bob.messages(this.roomId).at(-1);
        await succeeds("POST /receipt/m.read", bob.client.sendReadReceipt(newest, ReceiptType.Read, true));
        const seen = () => alice.room(this.roomId).getUsersReadUpTo(alice.room(this.roomId).findEventById(sent));
        await alice.until("bob's receipt", () => seen().includes(bob.userId));
        await succeeds("POST /read_markers", bob.client.setRoomReadMarkers(this.roomId, newest.getId(), newest));
        const marker = () => bob.room(this.roomId).getAccountData(EventType.FullyRead)?.getContent().event_id;
        await bob.until("his own read marker", () => marker() === newest.getId());
    }

    async paginateHistory() {
        const { alice, bob } = this;
        this.history = ["hello bob", "hello alice", "read me"];
        this.historyIds = [];
        for (let number = 0; number < HISTORY_MESSAGES; number += 1) {
            this.historyIds.push(await alice.say(this.roomId, `history ${number}`));
            this.history.push(`history ${number}`);
        }
        // A device that starts now has only the end of the timeline, and walks back.
        const late = new Person(bob.baseUrl, bob.name);
        const login = { type: AuthType.Password, identifier: { type: "m.id.user", user: bob.userId }, password: PASSWORD };
        late.use(await succeeds("POST /login on another device", bob.anonymous().loginRequest(login)));
        try {
            await late.start();
            await late.until("the newest message", () => late.said(this.roomId).at(-1) === this.history.at(-1));
            expect(late.said(this.roomId).length <= 10, `the first sync has ${late.said(this.roomId).length} messages, not 10`);
            const timeline = () => late.room(this.roomId).getLiveTimeline();
            let pages = 0;
            while (timeline().getPaginationToken(EventTimeline.BACKWARDS) !== null && pages < PAGES_MAX) {
                await succeeds("GET /messages", late.client.scrollback(late.room(this.roomId), PAGE_EVENTS));
                pages += 1;
            }
            expect(pages < PAGES_MAX, `no beginning of the history after ${pages} pages`);
            const said = late.said(this.roomId);
            expect(JSON.stringify(said) === JSON.stringify(this.history), `the history is ${said}, expected ${this.history}`);
            expect(timeline().getEvents()[0].getType() === EventType.RoomCreate, "the history does not begin with the creation");
        } finally {
            late.stop();
            await succeeds("POST /logout of that device", late.client.logout(true));
        }
    }

    async openInTheMiddle() {
        const { bob } = this;
        const middle = this.historyIds[Math.floor(HISTORY_MESSAGES / 2)];
        const raw = await succeeds(
            "GET /messages in one page",
            bob.client.createMessagesRequest(this.roomId, null, 100, Direction.Backward),
        );
        expect(raw.chunk.some((event) => event.event_id === middle), "the message is not in the history");
        const set = bob.room(this.roomId).getUnfilteredTimelineSet();
        const timeline = await succeeds("GET /context", bob.client.getEventTimeline(set, middle));
        expect(timeline?.getEvents().some((event) => event.getId() === middle), "the timeline around it is without it");
    }

    async redact() {
        const { alice, bob } = this;
        const target = bob.room(this.roomId).findEventById(this.first);
        await succeeds("PUT /redact", alice.client.redactEvent(this.roomId, this.first, undefined, { reason: "wrong room" }));
        await bob.until("the redaction", () => target === undefined || target.isRedacted());
        const event = await succeeds("GET /event", bob.client.fetchRoomEvent(this.roomId, this.first));
        expect(Object.keys(event.content).length === 0, `the message still says ${JSON.stringify(event.content)}`);
        const reason = event.unsigned?.redacted_because?.content?.reason;
        expect(reason === "wrong room", `redacted because of ${reason}`);
    }

    async leave() {
        const { alice, bob } = this;
        await succeeds("POST /leave", bob.client.leave(this.roomId));
        await alice.until("the leave", () => alice.room(this.roomId).getJoinedMemberCount() === 1);
        await bob.until("his own leave", () => bob.room(this.roomId)?.getMyMembership() === KnownMembership.Leave);
        await isRefused("bob sends after leaving", bob.client.sendTextMessage(this.roomId, "am I here?"), "M_FORBIDDEN");
    }

    async logOut() {
        for (const person of [this.alice, this.bob]) {
            person.stop();
            await succeeds("POST /logout", person.client.logout(true));
            await isRefused(`whoami of ${person.name}`, person.client.whoami(), "M_UNKNOWN_TOKEN");
        }
    }

    stop() {
        this.alice.stop();
        this.bob.stop();
    }
}

/** The SDK logs through the console whatever level it is set to; the steps are written past it. */
function silenceTheLibrary() {
    for (const method of ["trace", "debug", "log", "info", "warn", "error"]) console[method] = () => {};
}

function tellStep(line) {
    process.stdout.write(`${line}\n`);
}

async function main() {
    const { values, positionals } = parseArgs({ allowPositionals: true, options: { verbose: { type: "boolean" } } });
    if (positionals.length !== 1) {
        console.error("usage: node scenario.mjs BASE_URL [--verbose]");
        return 2;
    }
    if (!values.verbose) silenceTheLibrary();
    const scenario = new Scenario(positionals[0]);
    try {
        for (const [name, step] of scenario.steps()) {
            try {
                await step.call(scenario);
            } catch (error) {
                tellStep(`FAILED js: ${name}: ${error instanceof Failure ? error.message : tell(error)}`);
                return 1;
            }
            tellStep(`ok js: ${name}`);
        }
        return 0;
    } finally {
        scenario.stop();
    }
}

process.exit(await main());
