"""
Study when the forward pass of a convolutional network recovers the activation pathways of a signal.

The names that this package offers are loaded when first used, so that `import dcsc` is
fast and a stage of the workflow imports only what it needs.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "ConvolutionalDictionary": "model.dictionary",
    "Cascade": "model.cascade",
    "UserError": "errors",
    "mutual_coherence": "model.coherence",
    "babel": "model.coherence",
    "babel2": "model.coherence",
    "welch_bound": "model.coherence",
    "stripe_counts": "model.sparsity",
    "stripe_norm": "model.sparsity",
    "patch_norm": "model.sparsity",
    "patch_l2": "model.sparsity",
    "contrast": "model.sparsity",
    "RaggedCodes": "ragged",
    "open_results": "store.dataset",
    "read_network": "certification.network_file",
    "certify": "certification.certificate",
    "phase_diagram": "certification.phase_diagram",
}
_MODULES = {
    "adversary": "sampling.adversary",
    "arrays": "arrays",
    "catalogue": "study.catalogue",
    "certificate": "certification.certificate",
    "certificate_page": "certification.page",
    "certificate_report": "certification.report",
    "coherence": "model.coherence",
    "config": "study.config",
    "dataset": "store.dataset",
    "dictionary": "model.dictionary",
    "errors": "errors",
    "families": "families",
    "guarantees": "guarantees",
    "model": "model",
    "network": "certification.network",
    "network_file": "certification.network_file",
    "pursuit": "pursuit",
    "ragged": "ragged",
    "seeds": "seeds",
    "sampling": "sampling",
    "sparse_path": "convolution.sparse_path",
    "sparsity": "model.sparsity",
    "statistics": "statistics",
    "trace": "study.trace",
    "transitions": "figures.transitions",
}

__all__ = sorted([*_HOMES, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"dcsc.{_MODULES[name]}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"dcsc.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'dcsc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*(name for name in globals() if name.startswith("_")), *__all__])
