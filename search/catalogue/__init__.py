"""Published changes to a small transformer's recipe as edits of the baseline, and placebos."""

from search.catalogue.placebo import placebo_edit, placebo_proposal
from search.catalogue.proposer import CATALOGUE, CATEGORIES, CatalogueProposer

__all__ = ["CATALOGUE", "CATEGORIES", "CatalogueProposer", "placebo_edit", "placebo_proposal"]
