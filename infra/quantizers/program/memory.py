"""Memory of the process that makes a checkpoint."""

import contextlib
import ctypes
import resource


def keep():
    """Let the allocator keep what it has.

    Temporaries, activations and Hessians come and go layer after layer. By default each comes
    fresh from the kernel, and on a CPU clearing its pages takes a good part of the time.
    """
    m_trim_threshold, m_mmap_max = -1, -4
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, -1)


def used(torch=None):
    """Return the accelerator that was computed on, and the most memory that it took of it.

    Args:
        torch: The library, if it may have computed on one; else, and without one, main memory
            counts.
    """
    if torch is None or not torch.cuda.is_available():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"device": None, "peak_memory_bytes": peak}
    devices = range(torch.cuda.device_count())
    peak = max(torch.cuda.max_memory_allocated(device) for device in devices)
    return {"device": torch.cuda.get_device_name(0), "peak_memory_bytes": peak}
