"""Generators of messages, run beside the GUI."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from qtpy.QtCore import QThread, QThreadPool

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.plugin.jobs.workers import Failure, Later, start


@pytest.fixture
def run(qtbot):
    """Run a generator to its end and return its messages."""

    def run(job):
        messages, ended = [], []
        handle = start(job, messages.append, lambda: ended.append(True))
        qtbot.waitUntil(lambda: bool(ended), timeout=5000)
        del handle
        return messages

    return run


def test_messages_arrive_in_order_on_the_gui_thread(qtbot):
    seen, ended = [], []
    here = QThread.currentThread()

    def job():
        for number in range(3):
            yield number, QThread.currentThread() is here

    handle = start(
        job,
        lambda message: seen.append((*message, QThread.currentThread() is here)),
        lambda: ended.append(True),
    )
    qtbot.waitUntil(lambda: bool(ended), timeout=5000)
    assert seen == [(0, False, True), (1, False, True), (2, False, True)]
    del handle


def test_bad_input_becomes_its_sentence(run):
    def job():
        yield 1
        raise InputError("This image is empty.")

    assert run(job) == [1, Failure("This image is empty.")]


def test_any_other_error_becomes_a_sentence_too(run):
    def job():
        yield 1
        raise RuntimeError("boom")  # superqt would end the worker without a word

    first, failure = run(job)
    assert first == 1
    assert failure == Failure("Something unexpected went wrong (RuntimeError: boom).")


def test_too_little_memory_says_what_to_do(run):
    def job():
        yield 1
        raise MemoryError

    assert "use smaller images" in run(job)[1].text


def test_numerical_warnings_stay_silent(run):
    """The viewer would show them as notifications, and numpy's can freeze it."""

    def job():
        yield np.zeros(1) / np.zeros(1)

    before = list(warnings.filters)
    (value,) = run(job)
    assert np.isnan(value).all()
    assert warnings.filters == before


def test_what_is_sent_arrives_even_before_the_first_message(qtbot):
    heard, ended = [], []

    def job():
        time.sleep(0.05)
        heard.append((yield 1))

    handle = start(job, lambda _: None, lambda: ended.append(True))
    handle.send("stop")
    qtbot.waitUntil(lambda: bool(ended), timeout=5000)
    assert heard == ["stop"]


def test_a_discarded_job_ends_soon_and_is_never_heard_again(qtbot):
    messages, ended, closed = [], [], []

    def job():
        try:
            while True:
                time.sleep(0.02)
                yield 1
        finally:
            closed.append(True)

    handle = start(job, messages.append, lambda: ended.append(True))
    qtbot.waitUntil(lambda: bool(messages), timeout=5000)
    handle.discard()
    count = len(messages)
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=5000)
    qtbot.wait(50)
    assert len(messages) == count
    assert not ended
    assert closed


def test_a_pausing_job_can_be_discarded(qtbot):
    messages = []

    def job():
        while True:
            time.sleep(0.01)
            yield 1

    handle = start(job, messages.append)
    qtbot.waitUntil(lambda: bool(messages), timeout=5000)
    handle.set_paused(True)
    handle.discard()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=5000)


def test_two_jobs_at_once_leave_warnings_as_they_were(qtbot):
    before = (list(warnings.filters), warnings.showwarning)
    ended = []

    def job(seconds):
        def steps():
            for _ in range(3):
                time.sleep(seconds)
                yield 1

        return steps

    handles = [
        start(job(seconds), lambda _: None, lambda: ended.append(True)) for seconds in (0.01, 0.03)
    ]
    qtbot.waitUntil(lambda: len(ended) == 2, timeout=5000)
    qtbot.waitUntil(lambda: warnings.filters == before[0], timeout=1000)
    assert warnings.showwarning is before[1]
    del handles


def test_later_waits_for_the_last_request(qtbot):
    calls = []
    later = Later(lambda: calls.append(True), 30)
    for _ in range(5):
        later.request()
    qtbot.waitUntil(lambda: bool(calls), timeout=1000)
    qtbot.wait(60)
    assert len(calls) == 1
    later.request()
    later.cancel()
    qtbot.wait(60)
    assert len(calls) == 1
