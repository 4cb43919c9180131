"""eclipse-zenoh: two peers over one tcp link, or a router between; a full queue blocks ``put``."""

from __future__ import annotations

import json
import threading
from time import perf_counter

import zenoh

from benchmarks.job import Arrivals, Job, fail, report_trips

_KEY, _BACK = "bench/there", "bench/back"


def receive(job: Job) -> None:
    """Take messages."""
    session = _session(job, listen=not job.relayed, mode="client" if job.relayed else "peer")
    arrivals = Arrivals(job)
    session.declare_subscriber(_KEY, lambda sample: _checked(arrivals, sample))
    job.ready()
    threading.Event().wait()


def send(job: Job) -> None:
    """Send as fast as the session takes messages."""
    session = _session(job, listen=False, mode="client" if job.relayed else "peer")
    publisher = session.declare_publisher(
        _KEY, congestion_control=zenoh.CongestionControl.BLOCK, express=False
    )
    _await_subscriber(publisher)
    payloads = job.payloads()
    mask = len(payloads) - 1
    job.wait()
    put = publisher.put
    for place in range(job.share):
        put(payloads[place & mask])
    threading.Event().wait()


def relay(job: Job) -> None:
    """Be the router."""
    session = _session(job, listen=True, mode="router")
    job.ready()
    threading.Event().wait()
    session.close()  # type: ignore[no-untyped-call]  # untyped in zenoh


def echo(job: Job) -> None:
    """Give back what comes."""
    session = _session(job, listen=True)
    back = session.declare_publisher(
        _BACK, congestion_control=zenoh.CongestionControl.BLOCK, express=True
    )
    session.declare_subscriber(_KEY, lambda sample: back.put(sample.payload))
    job.ready()
    threading.Event().wait()


def ping(job: Job) -> None:
    """Send the next message when the one before has come back."""
    session = _session(job, listen=False)
    publisher = session.declare_publisher(
        _KEY, congestion_control=zenoh.CongestionControl.BLOCK, express=True
    )
    # A channel instead of a callback: the thread that asked is the one that waits.
    answers = session.declare_subscriber(_BACK, zenoh.handlers.FifoChannel(16))
    _await_subscriber(publisher)
    payload = job.payloads()[0]
    job.wait()
    seconds = []
    for _ in range(job.count):
        began = perf_counter()
        publisher.put(payload)
        answer = answers.recv().payload.to_bytes()
        seconds.append(perf_counter() - began)
        assert answer == payload
    report_trips(job, seconds)


def _session(job: Job, *, listen: bool, mode: str = "peer") -> zenoh.Session:
    config = zenoh.Config()
    endpoint = json.dumps([f"tcp/127.0.0.1:{job.port}"])
    config.insert_json5("mode", json.dumps(mode))
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("listen/endpoints", endpoint if listen else "[]")
    config.insert_json5("connect/endpoints", "[]" if listen else endpoint)
    return zenoh.open(config)


def _checked(arrivals: Arrivals, sample: zenoh.Sample) -> None:
    arrivals.take(sample.payload.to_bytes())


def _await_subscriber(publisher: zenoh.Publisher) -> None:
    limit = perf_counter() + 10
    while not publisher.matching_status.matching:  # type: ignore[attr-defined]  # stubs say bool
        if perf_counter() > limit:
            fail("nobody subscribes")
        threading.Event().wait(0.02)
