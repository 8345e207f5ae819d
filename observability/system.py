"""Samples CPU, memory, allocator and GPU of a process and its node."""

from __future__ import annotations

import ctypes
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import psutil
import pynvml

from observability.catalog import (
    SYSTEM_CPU_UTILISATION_RATIO,
    SYSTEM_GPU_MEMORY_CAPACITY_BYTES,
    SYSTEM_GPU_MEMORY_USED_BYTES,
    SYSTEM_GPU_UTILISATION_RATIO,
    SYSTEM_MEMORY_FRAGMENTATION_RATIO,
    SYSTEM_MEMORY_UNALLOCATED_RATIO,
    SYSTEM_MEMORY_USED_RATIO,
    SYSTEM_PROCESS_CPU_SECONDS,
    SYSTEM_PROCESS_RESIDENT_BYTES,
)
from observability.metrics import Metrics

log = logging.getLogger(__name__)

TorchStats = Callable[[], Mapping[str, Mapping[str, Any]]]
"""``torch.cuda.memory_stats()`` by device name (``cuda:0`` …)."""


class GpuReading(NamedTuple):
    """State of a GPU. ``utilisation`` is in 0..1 (None if the device doesn't report it); memory is in bytes."""

    device: str
    utilisation: float | None
    used: int
    capacity: int


class SystemSampler:
    """Reads the machine's state into gauges. Call ``sample`` before each snapshot.

    Args:
        metrics: destination; its ``process`` is the role in labels.
        node: the node's name in labels; default: the host's name.
        torch_stats: allocator statistics, in processes that use torch on a GPU.
        gpus: reads the node's GPUs; default: NVML, which reports none without a driver.
    """

    def __init__(
        self,
        metrics: Metrics,
        node: str | None = None,
        torch_stats: TorchStats | None = None,
        gpus: Callable[[], list[GpuReading]] | None = None,
    ) -> None:
        self._metrics = metrics
        self._node = node or socket.gethostname()
        self._torch_stats = torch_stats
        self._gpus = gpus or NvmlGpus().read
        self._process = psutil.Process()
        self._cpu_seconds = 0.0
        psutil.cpu_percent(None)  # the first call only starts the measured period

    def sample(self) -> None:
        metrics, role = self._metrics, self._metrics.process
        metrics.set(SYSTEM_CPU_UTILISATION_RATIO, psutil.cpu_percent(None) / 100, node=self._node)
        metrics.set(SYSTEM_MEMORY_USED_RATIO, psutil.virtual_memory().percent / 100, node=self._node)
        metrics.set(SYSTEM_PROCESS_RESIDENT_BYTES, self._process.memory_info().rss, process=role)
        times = self._process.cpu_times()
        spent = times.user + times.system
        metrics.inc(SYSTEM_PROCESS_CPU_SECONDS, max(spent - self._cpu_seconds, 0.0), process=role)
        self._cpu_seconds = spent
        held = heap_fragmentation()
        if held is not None:
            metrics.set(SYSTEM_MEMORY_FRAGMENTATION_RATIO, held, process=role, device="cpu")
        self._sample_gpus()

    def _sample_gpus(self) -> None:
        metrics = self._metrics
        for gpu in self._gpus():
            where = {"node": self._node, "device": gpu.device}
            if gpu.utilisation is not None:
                metrics.set(SYSTEM_GPU_UTILISATION_RATIO, gpu.utilisation, **where)
            metrics.set(SYSTEM_GPU_MEMORY_USED_BYTES, gpu.used, **where)
            metrics.set(SYSTEM_GPU_MEMORY_CAPACITY_BYTES, gpu.capacity, **where)
        for device, stats in (self._torch_stats() if self._torch_stats else {}).items():
            reserved = stats.get("reserved_bytes.all.current", 0)
            if not reserved:
                continue
            labels = {"process": metrics.process, "device": device}
            split = stats.get("inactive_split_bytes.all.current", 0) / reserved
            unallocated = 1 - stats.get("allocated_bytes.all.current", 0) / reserved
            metrics.set(SYSTEM_MEMORY_FRAGMENTATION_RATIO, split, **labels)
            metrics.set(SYSTEM_MEMORY_UNALLOCATED_RATIO, unallocated, **labels)


class _Mallinfo2(ctypes.Structure):
    """``struct mallinfo2`` of glibc 2.33 and later: ten sizes. Source: mallinfo(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def heap_fragmentation() -> float | None:
    """Share of the C heap that is free but not returned to the system; None without glibc 2.33."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):
        return None
    mallinfo2.restype = _Mallinfo2
    info = mallinfo2()
    return float(info.fordblks / info.arena) if info.arena else 0.0


class NvmlGpus:
    """The node's NVIDIA GPUs; none without a driver. Never raises, since metrics must not crash a process."""

    def __init__(self) -> None:
        self._nvml = _nvml()

    def read(self) -> list[GpuReading]:
        nvml = self._nvml
        if nvml is None:
            return []
        try:
            return [self._one(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError as error:
            log.warning("NVML stopped reporting: %s", error)
            self._nvml = None
            return []

    @staticmethod
    def _one(nvml: Any, index: int) -> GpuReading:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        try:
            busy = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        except nvml.NVMLError_NotSupported:  # a MIG slice doesn't report its utilisation
            busy = None
        return GpuReading(f"gpu{index}", busy, int(memory.used), int(memory.total))


def _nvml() -> Any:
    try:
        pynvml.nvmlInit()
    except (OSError, pynvml.NVMLError):
        return None
    return pynvml
