"""A run is a guest in its process."""

import contextlib
import os
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from pipeline import TINY_RUN

from recbole_gro import UserError, run_recbole_gro
from recbole_gro.utils.random_state import global_state_kept, random_state, set_generator_state, set_random_state


def draws():
    """What each generator would give next; taking a look moves them on."""
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def switches():
    cudnn = torch.backends.cudnn
    return (
        cudnn.benchmark,
        cudnn.deterministic,
        torch.get_num_threads(),
        torch.is_anomaly_enabled(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        os.environ.get("CUDA_VISIBLE_DEVICES"),
    )


def seed(number):
    random.seed(number), np.random.seed(number), torch.manual_seed(number)


def test_a_run_leaves_generators_and_switches_as_they_were(tiny_data_path):
    seed(5)
    expected = draws()
    seed(5)
    before = switches()
    run_recbole_gro("BERT4Rec", "tiny", config_dict={**TINY_RUN, "data_path": str(tiny_data_path)}, saved=False)
    assert switches() == before
    assert draws() == expected


@contextlib.contextmanager
def double_precision():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def autocast():
    return torch.autocast("cpu", torch.bfloat16)


def other_device():
    return torch.device("meta")


def test_a_run_has_the_same_figures_in_every_mode_of_the_script(tiny_data_path):
    given = {**TINY_RUN, "data_path": str(tiny_data_path)}
    figures = []
    for mode in (contextlib.nullcontext, double_precision, torch.no_grad, torch.inference_mode, autocast, other_device):
        with mode():
            before = switches(), torch.is_autocast_enabled("cpu"), torch.get_default_device()
            results = run_recbole_gro("BERT4Rec", "tiny", config_dict=given, saved=False)
            assert (switches(), torch.is_autocast_enabled("cpu"), torch.get_default_device()) == before
        figures.append([(row["target"]["test"], row["surrogate"]["test"]) for row in results["defenses"]])
    assert figures[0]
    assert [one == figures[0] for one in figures] == [True] * len(figures)


def test_a_run_beside_that_of_another_thread_ends_in_one_line(tiny_data_path):
    settings = {**TINY_RUN, "data_path": str(tiny_data_path)}
    with ThreadPoolExecutor(1) as pool, global_state_kept():
        second = pool.submit(run_recbole_gro, "BERT4Rec", "tiny", config_dict=settings, saved=False)
        with pytest.raises(UserError, match=r"^another thread of this process is inside a run; .* process of its own$"):
            second.result()
        with global_state_kept():  # a run within the run
            pass
        with pytest.raises(UserError):
            pool.submit(fails).result()
    with pytest.raises(ZeroDivisionError):  # after the run, any thread may start one
        ThreadPoolExecutor(1).submit(fails).result()


@global_state_kept()
def fails():
    seed(9)
    torch.set_num_threads(torch.get_num_threads() + 1)
    os.environ["CUDA_VISIBLE_DEVICES"] = "7"
    torch.backends.cudnn.deterministic = not torch.backends.cudnn.deterministic
    raise ZeroDivisionError


def test_so_does_a_run_that_fails():
    seed(5)
    expected = draws()
    seed(5)
    before = switches()
    with pytest.raises(ZeroDivisionError):
        fails()
    assert switches() == before
    assert draws() == expected


GPU_STATE = torch.arange(16, dtype=torch.uint8)  # as a generator on a GPU returns it: its seed and its offset


def test_a_generator_takes_the_state_of_another_device():
    generator = torch.Generator()
    set_generator_state(generator, GPU_STATE)
    first = torch.rand(3, generator=generator)
    set_generator_state(generator, GPU_STATE)
    assert torch.equal(torch.rand(3, generator=generator), first)
    set_generator_state(generator, GPU_STATE + 1)
    assert not torch.equal(torch.rand(3, generator=generator), first)


def test_a_generator_takes_its_own_state_as_it_is():
    generator = torch.Generator().manual_seed(3)
    state = generator.get_state()
    first = torch.rand(3, generator=generator)
    set_generator_state(generator, state)
    assert torch.equal(torch.rand(3, generator=generator), first)


def test_a_state_with_gpus_that_are_not_here_is_taken():
    state = random_state()
    expected = draws()
    set_random_state({**state, "cuda": [GPU_STATE] * (torch.cuda.device_count() + 2)})
    assert draws() == expected


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_while_another_thread_runs_may_run():
    def status_of_a_fork():
        if child := os.fork():
            return os.waitpid(child, 0)[1]
        status = 1
        try:
            with global_state_kept():
                status = 0
        finally:
            os._exit(status)

    with global_state_kept(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(status_of_a_fork).result() == 0
