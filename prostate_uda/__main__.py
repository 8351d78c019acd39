"""Floor 6: ``python -m prostate_uda`` is the command ``prostate-uda``."""

from prostate_uda.cli import main

if __name__ == "__main__":
    main()
