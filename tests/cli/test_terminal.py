"""What a person sees of long commands, and that Ctrl-C ends them in good order."""

from __future__ import annotations

import io
import re
import signal
import time
from contextlib import redirect_stdout

import pytest

from napari_ssim_defects.cli.terminal import Bar, CommandResult, deferred_interrupt


def test_bar_shows_title_percentage_and_text(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("training") as bar:
        bar.show(0.25, "loss 0.5")
        bar.show(1.0, "loss 0.25")
    out, err = capsys.readouterr()
    assert out == ""
    assert "training" in err
    assert "100%" in err
    assert "loss 0.25" in err
    assert err.endswith("\n")


def test_bar_that_nothing_was_shown_on_leaves_no_trace(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("training"):
        pass
    assert capsys.readouterr() == ("", "")


def test_bar_says_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("training") as bar:
        bar.say("on two cores")
        assert capsys.readouterr() == ("", "on two cores\n")
        bar.show(0.5, "")
        bar.say("half way")
    out, err = capsys.readouterr()
    assert out == ""
    assert "half way\n" in err


def test_time_left_counts_from_the_start_of_the_work(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Bar("training") as bar:
        time.sleep(1.1)
        bar.show(0.1, "")
    (left, *_) = re.findall(r"about 00:(\d\d) left", capsys.readouterr().err)
    assert int(left) >= 9


def test_bar_in_a_log_file_is_a_few_lines_and_not_thousands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Bar("training") as bar:
        for step in range(2001):
            bar.show(step / 2000, f"loss {step}")
    err = capsys.readouterr().err
    assert err.count("training") <= 5
    assert "100%" in err


def test_results_go_to_a_stream_of_text_too() -> None:
    stream = io.StringIO()
    with redirect_stdout(stream):
        CommandResult({"size": 5}, "5 µm").print(as_json=False)
    assert stream.getvalue() == "5 µm\n"


def test_first_interrupt_is_only_asked_about() -> None:
    before = signal.getsignal(signal.SIGINT)
    with deferred_interrupt() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        assert interrupted()
    assert signal.getsignal(signal.SIGINT) is before


def test_second_interrupt_interrupts() -> None:
    # A shell's background jobs start without Python's own handler.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with deferred_interrupt():
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
