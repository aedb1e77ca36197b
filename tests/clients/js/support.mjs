// What the scenarios of matrix-js-sdk share: a user at a client, waiting, and steps that report themselves.

import { parseArgs } from "node:util";
import { AuthType, ClientEvent, EventType, createClient } from "matrix-js-sdk";

export const PASSWORD = "correct horse battery staple";
// How long another client may take to hear of something.
const SOON_MS = 20_000;
// How long a step may take: a library that asks on for ever is a failure too.
const STEP_MS_MAX = 120_000;
// How often a condition is looked at when no event announced it.
const LOOK_AGAIN_MS = 100;

export class Failure extends Error {}

export function expect(condition, sentence) {
    if (!condition) throw new Failure(sentence);
}

/** What an error of the SDK says: HTTP status, errcode and the server's sentence. */
export function tell(error) {
    if (error?.httpStatus !== undefined) {
        return `HTTP ${error.httpStatus} ${error.errcode ?? ""} ${error.data?.error ?? error.message}`;
    }
    if (error?.name === "ConnectionError") return `no connection: ${error.cause?.cause?.message ?? error.message}`;
    return error?.stack ?? String(error);
}

/** The value of a request that must succeed. */
export async function succeeds(what, promise) {
    try {
        return await promise;
    } catch (error) {
        throw new Failure(`${what}: expected success, got ${tell(error)}`);
    }
}

/** Asserts that a request is refused with an error code. */
export async function isRefused(what, promise, errcode) {
    let answer;
    try {
        answer = await promise;
    } catch (error) {
        expect(error?.errcode === errcode, `${what}: expected ${errcode}, got ${tell(error)}`);
        return;
    }
    throw new Failure(`${what}: expected ${errcode}, got ${JSON.stringify(answer)}`);
}

/** Waits until a condition, which may be asynchronous, holds on what the client knows. */
export async function until(who, what, condition) {
    const deadline = Date.now() + SOON_MS;
    while (!(await condition())) {
        expect(Date.now() < deadline, `${who} did not hear of ${what} within ${SOON_MS} ms`);
        await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
}

/** A user at one client of the SDK. */
export class Person {
    /** With `options` of `createClient` beside the usual ones. */
    constructor(baseUrl, name, options = {}) {
        this.baseUrl = baseUrl;
        this.options = options;
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
            ...this.options,
        });
    }

    get userId() {
        return this.client.getUserId();
    }

    /** Starts to sync as Element does, with lazily loaded members. */
    async start(options = {}) {
        this.client.on(ClientEvent.Sync, (state, _previous, data) => {
            if (data?.error) this.problems.push(`${state}: ${tell(data.error)}`);
        });
        this.client.on(ClientEvent.SyncUnexpectedError, (error) => this.problems.push(tell(error)));
        const usual = { initialSyncLimit: 10, lazyLoadMembers: true, disablePresence: true };
        await succeeds(`${this.name} starts`, this.client.startClient({ ...usual, ...options }));
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

/** The SDK logs through the console whatever level it is set to; the steps are written past it. */
function silenceTheLibrary() {
    for (const method of ["trace", "debug", "log", "info", "warn", "error"]) console[method] = () => {};
}

function tellStep(line) {
    process.stdout.write(`${line}\n`);
}

/** A step that ends, one way or the other. */
async function withinLimit(step) {
    let timer;
    const limit = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Failure(`no end of it after ${STEP_MS_MAX} ms`)), STEP_MS_MAX);
    });
    try {
        await Promise.race([step, limit]);
    } finally {
        clearTimeout(timer);
    }
}

/** Runs the steps of a scenario, made from the server's base URL and the options; answers the exit status. */
export async function run(name, options, makeScenario) {
    const flags = { verbose: { type: "boolean" }, ...options };
    const { values, positionals } = parseArgs({ allowPositionals: true, options: flags });
    if (positionals.length !== 1) {
        console.error(`usage: node ${process.argv[1]} BASE_URL [--verbose]`);
        return 2;
    }
    if (!values.verbose) silenceTheLibrary();
    const scenario = makeScenario(positionals[0], values);
    try {
        for (const [title, step] of scenario.steps()) {
            try {
                await withinLimit(step.call(scenario));
            } catch (error) {
                tellStep(`FAILED ${name}: ${title}: ${error instanceof Failure ? error.message : tell(error)}`);
                return 1;
            }
            tellStep(`ok ${name}: ${title}`);
        }
        return 0;
    } finally {
        await scenario.stop();
    }
}
