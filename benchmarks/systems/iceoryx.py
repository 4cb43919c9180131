"""
iceoryx2: publish and subscribe through shared memory, and an event for each message, for which the
receiver waits: a program that has other things to do does not look all the time.

What a full queue has no room for is discarded, of which the sender is told, and sent again: the
strategy that is to try again by itself was seen to lose what came when the queue was full.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from time import perf_counter

import iceoryx2

from benchmarks.job import Arrivals, Job, report_trips

_KIND = iceoryx2.ServiceType.Ipc
# Samples that wait for a subscriber; the publisher's memory holds as many.
_QUEUE = 512
_QUEUE_BYTES = 16 * 1024 * 1024
_LOOK_SECONDS = 0.01


def receive(job: Job) -> None:
    """Take messages."""
    place = _Place(job, "there")
    receiver = place.subscriber()
    arrivals = Arrivals(job)
    job.ready()
    while not arrivals.done:
        receiver(arrivals.take)


def send(job: Job) -> None:
    """Send as fast as the queue takes messages."""
    put = _Place(job, "there").publisher()
    payloads = job.payloads()
    mask = len(payloads) - 1
    job.wait()
    for place in range(job.share):
        put(payloads[place & mask])
    # What is in its memory is gone with it; the runner ends the process.
    threading.Event().wait()


def echo(job: Job) -> None:
    """Give back what comes."""
    receiver = _Place(job, "there").subscriber()
    back = _Place(job, "back")
    job.ready()
    put = back.publisher()
    while True:
        receiver(put)


def ping(job: Job) -> None:
    """Send the next message when the one before has come back."""
    receiver = _Place(job, "back").subscriber()
    put = _Place(job, "there").publisher()
    payload = job.payloads()[0]
    job.wait()
    seconds: list[float] = []
    answers: list[bytes] = []
    for _ in range(job.count):
        began = perf_counter()
        put(payload)
        while not answers:
            receiver(answers.append)
        seconds.append(perf_counter() - began)
        assert answers.pop() == payload
    report_trips(job, seconds)


class _Place:
    """
    A service for messages and one for its events.

    :param job: Its path gives the name.
    :param way: Tells two of one measurement from each other.
    """

    def __init__(self, job: Job, way: str) -> None:
        iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
        disabled = iceoryx2.SignalHandlingMode.Disabled
        self._node = iceoryx2.NodeBuilder.new().signal_handling_mode(disabled).create(_KIND)
        # What earlier measurements have left, whose processes the runner has ended.
        self._node.try_cleanup_dead_nodes()
        name = iceoryx2.ServiceName.new(f"{job.path}/{way}")
        self._size = job.size
        self._queue = max(2, min(_QUEUE, _QUEUE_BYTES // job.size))
        self._messages = (
            self._node.service_builder(name)
            .publish_subscribe(iceoryx2.Slice[ctypes.c_uint8])
            .subscriber_max_buffer_size(self._queue)
            .enable_safe_overflow(False)
            .open_or_create()
        )
        self._events = self._node.service_builder(name).event().open_or_create()

    def publisher(self) -> Callable[[bytes], None]:
        """Give what sends one message, once somebody is there to take it."""
        told = iceoryx2.BackpressureStrategy.DiscardData
        port = (
            self._messages.publisher_builder()
            .initial_max_slice_len(self._size)
            .backpressure_strategy(told)
            .create()
        )
        notifier = self._events.notifier_builder().create()
        while not self._messages.dynamic_config.number_of_subscribers:
            time.sleep(_LOOK_SECONDS)
        loan, notify, copy = port.loan_slice_uninit, notifier.notify, ctypes.memmove

        def put(payload: bytes) -> None:
            size = len(payload)
            while True:
                sample = loan(size)
                copy(sample.payload().as_ptr(), payload, size)
                if sample.assume_init().send():
                    break
                time.sleep(0)
            notify()

        return put

    def subscriber(self) -> Callable[[Callable[[bytes], object]], None]:
        """Give what waits for messages and hands over a copy of each."""
        port = self._messages.subscriber_builder().buffer_size(self._queue).create()
        listener = self._events.listener_builder().create()
        receive, string_at = port.receive, ctypes.string_at

        def take(give: Callable[[bytes], object]) -> None:
            listener.blocking_wait()
            while (sample := receive()) is not None:
                payload = sample.payload()
                give(string_at(payload.as_ptr(), payload.len()))
                sample.delete()

        return take
