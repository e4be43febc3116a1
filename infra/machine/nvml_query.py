"""Say what the NVIDIA driver tells of the GPUs, as one JSON object on stdout.

    python -I nvml_query.py

Imports nothing of ours. The answer (version 1):

    {"version": 1, "error": text | null, "driver": text | null, "gpus": [
        {"index": number, "uuid": text, "name": text, "memory_bytes": number | null,
         "energy_millijoules": number | null,
         "processes": [{"pid": number, "memory_bytes": number | null}, …]}, …]}

`error` is why nothing is known, in the words of the driver's library. `memory_bytes` is null for a
GPU that uses the machine's memory, and for a process where the driver does not tell, as in a
container of its own. `energy_millijoules` is what the whole board has taken since its driver was
loaded; null for one that is older than Volta, and for one that is divided (MIG), whose counter is
of all parts together.
"""

import json
from typing import Any

VERSION = 1


def main() -> None:
    """Print the answer."""
    answer: dict[str, Any] = {"version": VERSION, "error": None, "driver": None, "gpus": []}
    try:
        import pynvml

        pynvml.nvmlInit()
        answer["driver"] = pynvml.nvmlSystemGetDriverVersion()
        answer["gpus"] = gpus(pynvml)
    except Exception as error:
        answer["error"] = str(error) or type(error).__name__
    print(json.dumps(answer))


def gpus(nvml: Any) -> list[dict[str, Any]]:
    """Return the GPUs that can be used; a lost one has fallen off its bus."""
    found = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            gpu = nvml.nvmlDeviceGetHandleByIndex(index)
            named = {"uuid": nvml.nvmlDeviceGetUUID(gpu), "name": nvml.nvmlDeviceGetName(gpu)}
        except nvml.NVMLError:
            continue
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(gpu).total
        except nvml.NVMLError:
            memory = None
        try:
            running = nvml.nvmlDeviceGetComputeRunningProcesses(gpu)
        except nvml.NVMLError:
            running = []
        processes = [{"pid": each.pid, "memory_bytes": each.usedGpuMemory} for each in running]
        found.append({
            "index": index, **named, "memory_bytes": memory,
            "energy_millijoules": energy(nvml, gpu), "processes": processes,
        })  # fmt: skip
    return found


def energy(nvml: Any, gpu: Any) -> int | None:
    """Return what a whole GPU has taken since its driver was loaded, in millijoules."""
    try:
        divided, _ = nvml.nvmlDeviceGetMigMode(gpu)
    except nvml.NVMLError:  # one that cannot be divided
        divided = nvml.NVML_DEVICE_MIG_DISABLE
    if divided != nvml.NVML_DEVICE_MIG_DISABLE:
        return None
    try:
        return int(nvml.nvmlDeviceGetTotalEnergyConsumption(gpu))
    except nvml.NVMLError:
        return None


if __name__ == "__main__":
    main()
