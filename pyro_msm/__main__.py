"""``python -m pyro_msm``."""

from pyro_msm.cli import main

main()
