"""The system tier: this machine's figures, a GPU's by a reading at hand, the network's by a ping."""

from __future__ import annotations

import pytest

from observability import catalog as c
from observability.metrics import Metrics
from observability.network import MAX_PAIRS, pairs, record, time_pings
from observability.system import GpuReading, NvmlGpus, SystemSampler, heap_fragmentation
from observability.values import Values


def test_samples_this_machine():
    metrics = Metrics("worker")
    sampler = SystemSampler(metrics, node="n", gpus=list)
    sampler.sample()
    first = Values(metrics.snapshot().series)
    sum(range(2_000_000))
    sampler.sample()
    values = Values(metrics.snapshot().series)
    assert 0 <= values.value(c.SYSTEM_CPU_UTILISATION_RATIO, node="n") <= 1
    assert 0 < values.value(c.SYSTEM_MEMORY_USED_RATIO, node="n") < 1
    assert values.value(c.SYSTEM_PROCESS_RESIDENT_BYTES, process="worker") > 1e6
    spent = values.value(c.SYSTEM_PROCESS_CPU_SECONDS, process="worker")
    assert spent >= first.value(c.SYSTEM_PROCESS_CPU_SECONDS, process="worker") > 0
    assert values.value(c.SYSTEM_GPU_UTILISATION_RATIO) is None


def test_heap_fragmentation_is_a_share_where_glibc_tells_it():
    share = heap_fragmentation()
    if share is None:
        pytest.skip("no glibc with mallinfo2 (2.33 or later)")
    assert 0 <= share <= 1


def test_gpu_figures_by_torch_and_nvml():
    metrics = Metrics("replica")
    stats = {
        "reserved_bytes.all.current": 100,
        "allocated_bytes.all.current": 60,
        "inactive_split_bytes.all.current": 25,
    }
    sampler = SystemSampler(
        metrics,
        node="n",
        torch_stats=lambda: {"cuda:0": stats, "cuda:1": {}},
        gpus=lambda: [GpuReading("gpu0", 0.5, 30, 80), GpuReading("mig", None, 1, 2)],
    )
    sampler.sample()
    values = Values(metrics.snapshot().series)
    assert values.value(c.SYSTEM_MEMORY_FRAGMENTATION_RATIO, device="cuda:0") == 0.25
    assert values.value(c.SYSTEM_MEMORY_UNALLOCATED_RATIO, device="cuda:0") == pytest.approx(0.4)
    assert values.by(c.SYSTEM_GPU_UTILISATION_RATIO, "device") == {"gpu0": 0.5}
    assert values.value(c.SYSTEM_GPU_MEMORY_USED_BYTES, node="n") == 31
    assert values.value(c.SYSTEM_MEMORY_UNALLOCATED_RATIO, device="cuda:1") is None


def test_nvml_never_raises():
    for gpu in NvmlGpus().read():
        assert 0 <= gpu.used <= gpu.capacity


def test_network_is_measured_and_silence_counted():
    def unreachable() -> None:
        raise TimeoutError

    ticks, metrics = iter([1.0, 1.004, 2.0]), Metrics("node")
    record(metrics, "a", time_pings({"b": lambda: None, "c": unreachable}, clock=lambda: next(ticks)))
    values = Values(metrics.snapshot().series)
    assert values.mean(c.SYSTEM_NETWORK_SECONDS, source="a", target="b") == pytest.approx(0.004)
    assert values.by(c.SYSTEM_NETWORK_FAILURES, "target") == {"b": 0, "c": 1}


def test_pairs_are_bounded():
    assert pairs(["b", "a"]) == [("a", "b"), ("b", "a")]
    assert pairs(["a"]) == [("a", "a")]
    assert pairs([]) == []
    assert len(pairs([f"n{index}" for index in range(50)])) == MAX_PAIRS
