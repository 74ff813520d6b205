"""Runs of one background job never overlap."""

import threading

import pytest

from eventflow.worker.exclusive import exclusive


def test_while_a_job_runs_a_second_run_of_it_returns_at_once() -> None:
    runs: list[str] = []
    begun, ended = threading.Event(), threading.Event()

    @exclusive
    def job() -> None:
        runs.append("run")
        begun.set()
        assert ended.wait(5)

    first = threading.Thread(target=job)
    first.start()
    assert begun.wait(5)
    job()
    assert runs == ["run"]
    ended.set()
    first.join(5)
    job()
    assert runs == ["run", "run"]


def test_a_run_that_fails_lets_the_next_one_run() -> None:
    @exclusive
    def job() -> None:
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            job()
