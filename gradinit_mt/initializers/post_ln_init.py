"""Post-LN-init: the nearer a layer to the input, the smaller its matrices.

Wang et al., "DeepNet: Scaling Transformers to 1,000 Layers", arXiv 2203.00555, section 3. The weights of layer l of a
stack of N, drawn by xavier's rule, are divided by N - l + 1. The paper uses it to show what a good initialization alone
changes.
"""

from gradinit_mt.initializers.layers import feed_forward_at_xavier, scale_by_depth
from gradinit_mt.initializers.registry import Start, register


@register("post-ln-init", about="matrices of layer l divided by N - l + 1 (Wang et al., 2022)")
def post_ln_init(start: Start) -> None:
    """Scales the layers' matrices; raises GradInitError if a stack has no layers."""
    feed_forward_at_xavier(start.model)
    scale_by_depth(start.model, lambda depth, layers: 1 / (layers - depth + 1))
