"""The variational families."""

from pyro_msm.guides.amortized_path import AmortizedPathGuide

__all__ = ["AmortizedPathGuide"]
