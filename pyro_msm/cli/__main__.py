"""``python -m pyro_msm.cli``, which ``torchrun -m`` can start too."""

from pyro_msm.cli import main

if __name__ == "__main__":  # not in processes that this one starts
    main()
