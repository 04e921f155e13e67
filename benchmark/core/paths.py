"""Every path inside the package and the checkout, in one place: a module that moves breaks none of them."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]  # the folder `benchmark`, installed or in a checkout
CHECKOUT = PACKAGE.parent  # the repository's root, where the package lies in a checkout

SUITES = PACKAGE / "runs" / "suites"
EVALUATORS = PACKAGE / "evaluation" / "evaluators"  # published weights of evaluation networks, and their index
BASELINES = PACKAGE / "drift" / "baselines"
FROZEN = PACKAGE / "drift" / "frozen"
TEMPLATES = PACKAGE / "report" / "templates"
REFERENCE = CHECKOUT / "results" / "reference"  # the published records, in a checkout


def card_folder() -> Path:
    """The folder of the dataset configs: inside an installed wheel, else next to the package."""
    installed = PACKAGE / "_cards"
    return installed if installed.is_dir() else CHECKOUT / "datasets"
