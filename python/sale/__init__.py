# SPDX-License-Identifier: Apache-2.0
"""libsale: sparse attention for long-context LLM prefill (SALE, arXiv 2505.24179).

    import sale
    out = sale.attention(q, k, v, tau=0.004)     # CUDA tensors [batch, heads, tokens, head_dim]

    sale.calibrate(model, texts, tokenizer=tokenizer, output="policy.yaml")   # thresholds for a model

Pure Python over the C API (include/sale/sale.h). Tensors may be torch's, or of anybody who offers __dlpack__ or
__cuda_array_interface__; torch is not needed. In torch.compile, use sale.torch_op; in Hugging Face transformers,
sale.integrations.transformers.
"""

from sale._library import Error, library_path, version
from sale._attention import attention, configure
from sale.engine import Engine, Plan, PlanCounters, StageTimes
from sale.tensors import Part, Tensors
from sale.types import Policy, Problem, Serving, Shape

__version__ = "0.1.0"
__all__ = [
    "Engine",
    "Error",
    "Part",
    "Plan",
    "PlanCounters",
    "Policy",
    "Problem",
    "Serving",
    "Shape",
    "StageTimes",
    "Tensors",
    "attention",
    "configure",
    "library_path",
    "version",
]


def __getattr__(name: str):
    if name == "calibrate":  # which needs torch and transformers
        from sale.calibration import calibrate

        return calibrate
    raise AttributeError(f"module 'sale' has no attribute {name!r}")
