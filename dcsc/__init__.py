"""
Study when the forward pass of a convolutional network recovers the activation pathways of a signal.

The names below are loaded when first used, so that `import dcsc` stays cheap and
a workflow stage imports only what it needs.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "ConvolutionalDictionary": "dictionary",
    "Cascade": "model",
    "UserError": "errors",
    "mutual_coherence": "coherence",
    "babel": "coherence",
    "babel2": "coherence",
    "welch_bound": "coherence",
    "stripe_counts": "sparsity",
    "stripe_norm": "sparsity",
    "patch_norm": "sparsity",
    "patch_l2": "sparsity",
    "contrast": "sparsity",
    "RaggedCodes": "ragged",
    "open_results": "dataset",
    "read_network": "network_file",
    "certify": "certificate",
}
_MODULES = {
    "adversary",
    "arrays",
    "certificate",
    "certificate_report",
    "coherence",
    "config",
    "dataset",
    "dictionary",
    "errors",
    "families",
    "guarantees",
    "model",
    "network",
    "network_file",
    "pursuit",
    "ragged",
    "seeds",
    "sampling",
    "sparse_path",
    "sparsity",
    "statistics",
    "trace",
    "transitions",
}

__all__ = sorted([*_HOMES, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"dcsc.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"dcsc.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'dcsc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
