"""``python -m pyro_msm.cli``, which ``torchrun -m`` can start too."""

from pyro_msm.cli import main

main()
