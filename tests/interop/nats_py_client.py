"""
A program with nats-py, which tests start: it talks to two gateways and says how it went.

Its last line is ``passed`` when everything was as it should be.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import nats
from nats.errors import MaxPayloadError, NoRespondersError

PATIENCE_SECONDS = 180.0

NAMES = ("one", "other")


def say(line: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def everywhere(publisher: Any, subscriber: Any, subject: str) -> None:
    """Wait until what one client publishes reaches a subscriber somewhere else."""
    arrived = asyncio.Event()

    async def note(_: object) -> None:
        arrived.set()

    subscription = await subscriber.subscribe(subject, cb=note)
    while not arrived.is_set():
        await publisher.publish(subject, b"")
        await publisher.flush(PATIENCE_SECONDS)
        await asyncio.sleep(0.05)
    await subscription.unsubscribe()


def believe(authority: str) -> ssl.SSLContext | None:
    """Say whom TLS believes; without an authority there is none."""
    return ssl.create_default_context(cafile=authority) if authority else None


async def connect(url: str, authority: str) -> Any:
    """Connect, however long that takes."""
    return await nats.connect(url, connect_timeout=PATIENCE_SECONDS, tls=believe(authority))


async def basics(here: str, there: str, authority: str = "") -> None:
    """Publish, subscribe, groups, requests, headers, what is refused or not answered, and drain."""
    await refused(here, authority)
    one, other = await connect(here, authority), await connect(there, authority)
    await everywhere(one, other, "ready")

    subscription = await other.subscribe("orders.*.new")
    await everywhere(one, other, "ready")
    for number in range(100):
        await one.publish("orders.eu.new", b"%d" % number, headers={"n": str(number)})
    for number in range(100):
        message = await subscription.next_msg(PATIENCE_SECONDS)
        assert message.data == b"%d" % number, message
        assert message.headers == {"n": str(number)}, message.headers

    async def add(message: Any) -> None:
        await message.respond(str(sum(map(int, message.data.split()))).encode())

    await other.subscribe("sum", queue="adders", cb=add)
    await one.subscribe("sum", queue="adders", cb=add)
    await everywhere(one, other, "ready")
    for number in range(20):
        answer = await one.request("sum", b"%d 1" % number, PATIENCE_SECONDS)
        assert answer.data == b"%d" % (number + 1), answer

    try:
        await one.request("nobody.is.there", b"", PATIENCE_SECONDS)
    except NoRespondersError:
        say("nobody answers")
    else:
        raise AssertionError("somebody has answered")
    await given_up(one)
    await share(one, other)

    large = b"x" * one.max_payload
    received = await other.subscribe("large")
    await everywhere(one, other, "ready")
    await one.publish("large", large)
    assert (await received.next_msg(PATIENCE_SECONDS)).data == large
    try:
        await one.publish("large", large + b"x")
    except MaxPayloadError:
        say("that is too large")
    await drain(one, other)


async def refused(url: str, authority: str) -> None:
    """Go on after everything that a server would carry, and the bus does not."""
    told: list[str] = []

    async def note(error: Exception) -> None:
        told.append(str(error))

    client = await nats.connect(
        url, connect_timeout=PATIENCE_SECONDS, tls=believe(authority), error_cb=note
    )
    deep, long = ".".join("t" * 17), "s" * 256
    for subject in (deep, long, "a\x7fb"):
        await client.subscribe(subject)
        await client.publish(subject, b"")
        await client.publish("a", b"", reply=subject)
    await client.subscribe("a", queue=long)
    subscription = await client.subscribe("a")
    await client.publish("a", b"still")
    message = await subscription.next_msg(PATIENCE_SECONDS)
    assert message.data == b"still", message
    assert len(told) == 10, told
    assert all("permissions violation" in each.lower() for each in told), told
    await client.close()


async def given_up(one: Any) -> None:
    """Learn that nobody answers also when the inbox is given up in the same breath."""
    told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def note(message: Any) -> None:
        told.set_result(message.headers)

    inbox = one.new_inbox()
    subscription = await one.subscribe(inbox, cb=note)
    await one.publish("nobody.is.there", b"", reply=inbox)
    # Not by `drain`: its PING overtakes what this client has not written yet, so it may be over
    # before there is an answer.
    await subscription.unsubscribe(limit=1)
    headers = await asyncio.wait_for(told, PATIENCE_SECONDS)
    assert headers == {"Status": "503"}, headers


async def share(one: Any, other: Any) -> None:
    """A group with a member at each gets each publication once, and both members get some."""
    members = [await each.subscribe("jobs", queue="workers") for each in (one, other)]
    await everywhere(one, other, "ready")
    await everywhere(other, one, "ready")
    for number in range(200):
        for publisher, name in zip((one, other), NAMES, strict=True):
            await publisher.publish("jobs", f"{name} {number}".encode())
    await everywhere(one, other, "ready")
    await everywhere(other, one, "ready")
    got = [[(await each.next_msg()).data for _ in range(each.pending_msgs)] for each in members]
    wanted = sorted(f"{name} {number}".encode() for number in range(200) for name in NAMES)
    assert sorted(got[0] + got[1]) == wanted, got
    assert all(got), got
    for each in members:
        await each.unsubscribe()


async def drain(one: Any, other: Any) -> None:
    """Take leave in good order: what was sent before is dealt with."""
    dealt_with: list[bytes] = []

    async def slowly(message: Any) -> None:
        await asyncio.sleep(0.001)
        dealt_with.append(message.data)

    await other.subscribe("work", cb=slowly)
    await everywhere(one, other, "ready")
    for number in range(100):
        await one.publish("work", b"%d" % number)
    await one.flush(PATIENCE_SECONDS)
    # Behind everything that has come over the bus by now.
    await everywhere(one, other, "ready")
    await other.drain()
    assert dealt_with == [b"%d" % number for number in range(100)], dealt_with
    await one.drain()


async def reconnect(here: str, there: str, authority: str = "") -> None:
    """
    Go on at another gateway when the first is gone, with all subscriptions.

    Of others nats-py takes the addresses that it is told of without WebSocket, whatever it came by.
    """
    knows_both, back = asyncio.Event(), asyncio.Event()

    async def discovered() -> None:
        knows_both.set()

    async def reconnected() -> None:
        back.set()

    async def ignore(_: object) -> None:
        """A connection that is lost is what this is about."""

    client = await nats.connect(
        [here, there] if here.startswith("ws") else here,
        dont_randomize=True,
        tls=believe(authority),
        discovered_server_cb=discovered,
        reconnected_cb=reconnected,
        error_cb=ignore,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,
    )
    subscription = await client.subscribe("orders.>")
    if len(client.servers) > 1:
        knows_both.set()
    await asyncio.wait_for(knows_both.wait(), PATIENCE_SECONDS)
    say("knows both")
    await asyncio.wait_for(back.wait(), PATIENCE_SECONDS)
    await client.publish("orders.eu", b"again")
    message = await subscription.next_msg(PATIENCE_SECONDS)
    assert message.data == b"again"
    await client.close()


async def parted(process: str, here: str, *there: str) -> None:
    """
    Ask while those who listen leave, of which the node between learns neither before nor after.

    :param process: The node where the ways part, by its number: it is stopped meanwhile, so the
        question and the news wait on their connections, and are read in any order.
    """
    asker, *others = [await connect(url, "") for url in (here, *there)]
    for number in range(20):
        queues = [f"group{place}" if number % 3 == 1 else "" for place in range(len(others))]
        queues = ["group"] * len(others) if number % 3 == 2 else queues
        subject = f"question.{number}"
        gone = [
            await each.subscribe(subject, queue=queue)
            for each, queue in zip(others, queues, strict=True)
        ]
        for each in others:
            await everywhere(asker, each, "ready")
        os.kill(int(process), signal.SIGSTOP)
        try:
            for subscription in gone:
                await subscription.unsubscribe()
            for each in others:
                await each.flush(PATIENCE_SECONDS)
            asking = asyncio.ensure_future(asker.request(subject, b"", PATIENCE_SECONDS))
            await asyncio.sleep(0)
            await asker.flush(PATIENCE_SECONDS)
        finally:
            os.kill(int(process), signal.SIGCONT)
        try:
            await asking
        except NoRespondersError:
            continue
        raise AssertionError("somebody has answered")


SCENARIOS: dict[str, Callable[..., Awaitable[None]]] = {
    "basics": basics,
    "parted": parted,
    "reconnect": reconnect,
}


if __name__ == "__main__":
    asyncio.run(SCENARIOS[sys.argv[1]](*sys.argv[2:]))  # type: ignore[arg-type]
    say("passed")
