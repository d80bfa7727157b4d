"""The evidence lower bound of models with latent paths."""

from __future__ import annotations

from typing import Any

from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer import TraceMeanField_ELBO
from pyro.infer.util import torch_item
from pyro.poutine.util import prune_subsample_sites
from torch.distributions import kl_divergence

from pyro_msm.distributions import SDEPath


class PathELBO(TraceMeanField_ELBO):
    """``TraceMeanField_ELBO`` without the densities that it evaluates and throws away.

    The stock class scores every site, also the latent path whose KL divergence has a closed form or
    a registered estimator: for an ``SDEPath`` that is one more pass through the drift at every
    snapshot. Here such sites are not scored. All sites of the guide that are not latent paths are
    handled as in the stock class.
    """

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        guide_trace = poutine.trace(guide).get_trace(*args, **kwargs)
        replayed = poutine.replay(model, trace=guide_trace)
        model_trace = poutine.trace(replayed).get_trace(*args, **kwargs)
        return prune_subsample_sites(model_trace), prune_subsample_sites(guide_trace)

    def _differentiable_loss_particle(self, model_trace: Any, guide_trace: Any) -> tuple[Any, Any]:
        paths = {
            name
            for name, site in model_trace.nodes.items()
            if site["type"] == "sample" and not site["is_observed"] and _is_path(site["fn"])
        }
        divergence = 0.0
        for name in paths:
            site = guide_trace.nodes[name]
            kl = kl_divergence(site["fn"], model_trace.nodes[name]["fn"])
            divergence = divergence + scale_and_mask(kl, site["scale"], site["mask"]).sum()
        model_rest, guide_rest = _without(model_trace, paths), _without(guide_trace, paths)
        model_rest.compute_log_prob()
        guide_rest.compute_score_parts()
        _, rest = super()._differentiable_loss_particle(model_rest, guide_rest)
        surrogate = rest + divergence
        return torch_item(surrogate), surrogate


def _is_path(law: Any) -> bool:
    while hasattr(law, "base_dist"):
        law = law.base_dist
    return isinstance(law, SDEPath)


def _without(trace: Any, names: set[str]) -> Any:
    rest = trace.copy()
    for name in names:
        rest.remove_node(name)
    return rest
