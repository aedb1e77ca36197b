// Everyday chat with an unmodified matrix-js-sdk client, against a real server.
//
//     node scenario.mjs BASE_URL [--verbose]
//
// Prints a line for each step; ends at the first that fails, with a sentence that says what was expected and what
// came instead, and exit status 1.

import { randomUUID } from "node:crypto";
import { AuthType, Direction, EventTimeline, EventType, InteractiveAuth, KnownMembership, ReceiptType } from "matrix-js-sdk";
import { PASSWORD, Person, expect, isRefused, run, succeeds } from "./support.mjs";

const HISTORY_MESSAGES = 30;
const PAGE_EVENTS = 10;
const PAGES_MAX = 50;

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

process.exit(await run("js", {}, (baseUrl) => new Scenario(baseUrl)));
