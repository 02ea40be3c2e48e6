"""
When thresholding and basis pursuit must recover an activation path: the ladder of guarantees.

Every function names its statement in docs/theory.md.
"""

from dcsc.guarantees.interference import interference_bound, interference_variance
from dcsc.guarantees.uniform import LayerGuarantee, PathGuarantee, uniform

__all__ = ["LayerGuarantee", "PathGuarantee", "interference_bound", "interference_variance", "uniform"]
