// A program with NATS's client for JavaScript, which tests start: it talks to two gateways and says
// how it went. Its last line is "passed" when everything was as it should be.

"use strict";

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { setTimeout: sleep } = require("node:timers/promises");
const {
    connect,
    credsAuthenticator,
    headers,
    nkeyAuthenticator,
    StringCodec,
} = require("nats");
// This one is for browsers, and takes theirs.
globalThis.WebSocket = require("ws");
const browsers = require("nats.ws");

const PATIENCE_MS = 180_000;
const text = StringCodec();

// With patience: the machine may be busy with something else.
function enter(url, options = {}) {
    const way = url.startsWith("ws") ? browsers.connect : connect;
    return way({ servers: url, timeout: PATIENCE_MS, ...options });
}

// Wait until what one client publishes reaches a subscriber somewhere else.
async function everywhere(publisher, subscriber, subject) {
    let arrived = false;
    const subscription = subscriber.subscribe(subject, { callback: () => (arrived = true) });
    while (!arrived) {
        publisher.publish(subject);
        await publisher.flush();
        await sleep(20);
    }
    subscription.unsubscribe();
}

async function publications(one, other) {
    const subscription = other.subscribe("orders.*.new", { max: 100 });
    await everywhere(one, other, "ready");
    for (let number = 0; number < 100; number++) {
        const block = headers();
        block.set("N", String(number));
        one.publish("orders.eu.new", text.encode(String(number)), { headers: block });
    }
    let number = 0;
    for await (const message of subscription) {
        assert.equal(message.subject, "orders.eu.new");
        assert.equal(text.decode(message.data), String(number));
        assert.equal(message.headers.get("N"), String(number));
        number++;
    }
    assert.equal(number, 100);
}

async function requests(one, other) {
    const answered = [0, 0];
    [one, other].forEach((bus, place) =>
        bus.subscribe("sum", {
            queue: "adders",
            callback: (_, message) => {
                answered[place]++;
                const numbers = text.decode(message.data).split(" ").map(Number);
                message.respond(text.encode(String(numbers[0] + numbers[1])));
            },
        }),
    );
    await everywhere(one, other, "ready");
    for (let number = 0; number < 100; number++) {
        const asked = text.encode(`${number} 1`);
        const answer = await one.request("sum", asked, { timeout: PATIENCE_MS });
        assert.equal(text.decode(answer.data), String(number + 1));
    }
    assert.equal(answered[0] + answered[1], 100);
    assert.ok(Math.min(...answered) > 0, `each member is asked: ${answered}`);
    await assert.rejects(one.request("nobody.is.there", "", { timeout: PATIENCE_MS }), {
        code: "503",
    });
    console.log("nobody answers");
}

// Take leave in good order: what was sent before is dealt with.
async function drain(one, other) {
    const dealtWith = [];
    const work = other.subscribe("work");
    const working = (async () => {
        for await (const message of work) {
            await sleep(1);
            dealtWith.push(Number(text.decode(message.data)));
        }
    })();
    await everywhere(one, other, "ready");
    for (let number = 0; number < 100; number++) {
        one.publish("work", text.encode(String(number)));
    }
    await one.flush();
    // Behind everything that has come over the bus by now.
    await everywhere(one, other, "ready");
    await other.drain();
    await working;
    assert.deepEqual(dealtWith, [...Array(100).keys()]);
    await one.drain();
}

async function basics(here, there) {
    const one = await enter(here);
    const other = await enter(there);
    await publications(one, other);
    await requests(one, other);
    await drain(one, other);
}

// Go on at another gateway when the first is gone, with all subscriptions.
async function reconnect(here) {
    const client = await enter(here, { maxReconnectAttempts: -1, reconnectTimeWait: 100 });
    const back = (async () => {
        for await (const event of client.status()) {
            if (event.type === "reconnect") {
                return;
            }
        }
    })();
    const subscription = client.subscribe("orders.>", { max: 1 });
    await client.flush();
    while ((client.info.connect_urls ?? []).length < 2) {
        await sleep(20);
    }
    console.log("knows both");
    await back;
    client.publish("orders.eu", text.encode("again"));
    for await (const message of subscription) {
        assert.equal(text.decode(message.data), "again");
    }
    await client.drain();
}

// Come in over TLS in each way, at the one gateway behind INFO and at the other one before it.
async function logins(here, there, authority, seed, file) {
    const tls = { caFile: authority };
    const shop = { user: "shop", pass: "secret" };
    const shown = [
        shop,
        { authenticator: nkeyAuthenticator(new TextEncoder().encode(seed)) },
        { authenticator: credsAuthenticator(readFileSync(file)) },
    ];
    const clients = [];
    for (const login of shown) {
        clients.push([
            await enter(here, { tls, ...login }),
            await enter(there, { tls: { handshakeFirst: true, ...tls }, ...login }),
        ]);
    }
    for (const [one, other] of clients) {
        await everywhere(one, other, "orders.ready");
        await everywhere(other, one, "orders.ready");
    }
    const stranger = { tls, ...shop, pass: "guessed", reconnect: false, timeout: PATIENCE_MS };
    await assert.rejects(connect({ servers: here, ...stranger }), {
        code: "AUTHORIZATION_VIOLATION",
    });
    const [[buyer]] = clients;
    const refused = (async () => {
        for await (const event of buyer.status()) {
            if (event.type === "error") {
                return event;
            }
        }
    })();
    buyer.publish("private.a");
    const { data, permissionContext } = await refused;
    assert.equal(data, "PERMISSIONS_VIOLATION");
    assert.deepEqual(
        [permissionContext.operation, permissionContext.subject],
        ["publish", "private.a"],
    );
    for (const client of clients.flat()) {
        await client.close();
    }
}

const [scenario, ...urls] = process.argv.slice(2);
({ basics, logins, reconnect })[scenario](...urls).then(
    () => console.log("passed"),
    (error) => {
        console.log(error);
        process.exitCode = 1;
    },
);
