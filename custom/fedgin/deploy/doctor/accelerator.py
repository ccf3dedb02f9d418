"""The GPU: is there the one that the contract asks for, and is it free?"""

from fedgin.data.site import SiteContract
from fedgin.data.validation.findings import Finding, fail, passed, warn

GB = 1e9
FREE_GB = 4.0


def check_gpu(contract: SiteContract) -> list[Finding]:
    """Check the device of ``site.yaml`` and how much of its memory a job may use now."""
    if contract.device == "cpu":
        return [passed("gpu", "the contract asks for the CPU")]
    import torch  # seconds, which only sites with a GPU need to wait

    index = torch.device(contract.device).index or 0 if contract.device != "auto" else 0
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        return [_absent(contract)]
    free, total = torch.cuda.mem_get_info(index)
    usable = min(free, total * contract.limits.gpu_memory_fraction) / GB
    said = f"GPU {index}: {usable:.1f} of {total / GB:.1f} GB can be used"
    if usable < FREE_GB:
        return [
            warn("gpu", said, f"stop other programs on it, or raise 'gpu_memory_fraction'; {FREE_GB:g} GB are safe")
        ]
    return [passed("gpu", said)]


def _absent(contract: SiteContract) -> Finding:
    import torch

    seen = f"PyTorch {torch.__version__} sees {torch.cuda.device_count()} GPUs"
    if contract.device == "auto":
        fix = "install the driver and a CUDA build of PyTorch, or set 'device: cpu' if the CPU is meant"
        return warn("gpu", f"{seen}; training would run on the CPU", fix)
    return fail("gpu", f"{seen}, the contract asks for {contract.device}", "set 'device: auto', or install the driver")
